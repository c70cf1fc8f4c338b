#!/usr/bin/env bash
# A real Kubernetes apiserver on a free loopback port, with RBAC and a certificate of its own; on request with the real
# controllers of Kubernetes and Argo Rollouts, and with a real Velero whose object store is moto.
#
#   kubernetes.sh start DIR             etcd and the apiserver; again on the same DIR: same ports, same data
#   kubernetes.sh argo DIR [NAMESPACE]  CRDs and controller of Argo Rollouts for NAMESPACE (demo), the controllers of
#                                       Deployments and ReplicaSets, and a stand-in for scheduler and kubelet
#   kubernetes.sh velero DIR            object store, Velero and its location `default` in namespace velero
#   kubernetes.sh api-stop DIR          ends the apiserver alone (SIGKILL), and
#   kubernetes.sh api-start DIR         starts it again
#   kubernetes.sh compact DIR           throws old revisions away in etcd
#   kubernetes.sh s3-stop DIR           ends the object store, and
#   kubernetes.sh s3-start DIR          starts it again, empty, with its bucket
#   kubernetes.sh stop DIR              ends everything by process id and waits
#
# DIR/env holds URL, CA, KUBECONFIG (all rights), KUBECONFIG_READER (get, list, watch), KUBECONFIG_WRITER (also patch),
# KUBECONFIG_NOBODY (no right), tokens as TOKEN_..., S3, BUCKET and PIDs. reader-certificate.kubeconfig beside it is the
# reader by a client certificate, stranger-certificate.kubeconfig somebody whose certificate another authority signed.
# With WATCHFLOOR_TEST_OWNER=PID everything ends by itself when that process is gone.
# Exit 77: something it needs is not on this machine; the reason is on stderr.
# WATCHFLOOR_TEST_BUILD=1 builds what is missing (ten minutes, once); without it a missing build is exit 77.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$HERE/common.sh"
BUCKET=backups

binaries() {
  if [ -n "${WATCHFLOOR_TEST_BUILD:-}" ]; then bash "$HERE/kubernetes-build.sh"; return; fi
  bash "$HERE/kubernetes-build.sh" --check || absent "Kubernetes is not built: run tests/services/kubernetes-build.sh"
}

# The port of a name, the same one whenever DIR is used again.
port() { # dir name
  local p
  p=$(sed -n "s/^$2=//p" "$1/ports" 2> /dev/null || true)
  # One that was chosen for another name is not taken yet, and looks free.
  while [ -z "$p" ]; do
    p=$(free_port)
    ! grep -q "=$p\$" "$1/ports" 2> /dev/null || p=
  done
  grep -q "^$2=" "$1/ports" 2> /dev/null || printf '%s=%s\n' "$2" "$p" >> "$1/ports"
  printf '%s' "$p"
}

run() { # dir name command...
  local dir=$1 name=$2
  shift 2
  begin "$dir/pids/$name" "$dir/$name.log" "$@"
}

wait_for() { # dir name seconds command...
  local dir=$1 name=$2 seconds=$3
  shift 3
  await "$name" "$dir/pids/$name" "$seconds" "$dir/$name.log" "$@"
}

certificates() { # dir
  local c=$1/certs
  mkdir -p "$c"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$c/ca.key" -out "$c/ca.pem" -days 3650 \
    -subj /CN=watchfloor-test-ca -addext keyUsage=critical,keyCertSign,cRLSign 2> /dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$c/server.key" -out "$c/server.csr" -subj /CN=localhost 2> /dev/null
  openssl x509 -req -in "$c/server.csr" -CA "$c/ca.pem" -CAkey "$c/ca.key" -CAcreateserial -days 3650 -out "$c/server.pem" \
    -extfile <(printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n') 2> /dev/null
  client_certificate "$c" reader "$c/ca"
  # One that the apiserver does not know.
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$c/other.key" -out "$c/other.pem" -days 3650 \
    -subj /CN=another-ca -addext keyUsage=critical,keyCertSign,cRLSign 2> /dev/null
  client_certificate "$c" stranger "$c/other"
  openssl genrsa -out "$c/sa.key" 2048 2> /dev/null
  openssl rsa -in "$c/sa.key" -pubout -out "$c/sa.pub" 2> /dev/null
}

client_certificate() { # dir name ca
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1/$2.key" -out "$1/$2.csr" -subj "/CN=$2" 2> /dev/null
  openssl x509 -req -in "$1/$2.csr" -CA "$3.pem" -CAkey "$3.key" -CAcreateserial -days 3650 -out "$1/$2.pem" \
    -extfile <(printf 'extendedKeyUsage=clientAuth\n') 2> /dev/null
}

kubeconfig() { # dir user what-says-who -> writes dir/user.kubeconfig
  local url=https://127.0.0.1:$(port "$1" api)
  cat > "$1/$2.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "$url", certificate-authority: "$1/certs/ca.pem"}}]
users: [{name: $2, user: {$3}}]
contexts: [{name: test, context: {cluster: test, user: $2, namespace: default}}]
current-context: test
YAML
}

curl_api() { curl -sf --max-time 30 --cacert "$1/certs/ca.pem" -H "Authorization: Bearer admin-token" "${@:3}" "https://127.0.0.1:$(port "$1" api)$2"; }

# Creates or replaces one object given as JSON.
apply() { # dir collection-path name json
  local until=$((SECONDS + 60))
  # A server that is new turns some away for a moment.
  until curl_api "$1" "$2/$3?fieldManager=test&force=true" -X PATCH -H 'Content-Type: application/apply-patch+yaml' -d "$4" > /dev/null; do
    [ $SECONDS -lt $until ] || { say "cannot apply $2/$3"; exit 1; }
    sleep 0.5
  done
}

rbac() { # dir
  local base=/apis/rbac.authorization.k8s.io/v1 v=rbac.authorization.k8s.io/v1
  local what='"apiGroups":["","apps","argoproj.io","flagger.app","velero.io"],"resources":["*"]'
  local role verbs
  for role in reader writer; do
    verbs='"get","list","watch"'
    [ $role = reader ] || verbs+=',"patch","update","create","delete"'
    apply "$1" $base/clusterroles test-$role "{\"apiVersion\":\"$v\",\"kind\":\"ClusterRole\",\"metadata\":{\"name\":\"test-$role\"},\"rules\":[{$what,\"verbs\":[$verbs]}]}"
    apply "$1" $base/clusterrolebindings test-$role "{\"apiVersion\":\"$v\",\"kind\":\"ClusterRoleBinding\",\"metadata\":{\"name\":\"test-$role\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"test-$role\"},\"subjects\":[{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"User\",\"name\":\"$role\"}]}"
  done
}

namespace() { apply "$1" /api/v1/namespaces "$2" "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"$2\"}}"; }

# CRDs are created, never changed. Answers may be large: they are left in a file.
crd() { # dir file type
  local code
  code=$(curl -s --max-time 60 --cacert "$1/certs/ca.pem" -H "Authorization: Bearer admin-token" -H "Content-Type: application/$3" \
    --data-binary "@$2" -o "$1/crd-answer" -w '%{http_code}' \
    "https://127.0.0.1:$(port "$1" api)/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
  case $code in
    201 | 409) ;;
    *) say "CRD in $2: $code $(head -c 600 "$1/crd-answer")"; exit 1 ;;
  esac
}

write_env() { # dir
  local dir=$1 user name
  {
    printf 'URL=https://127.0.0.1:%s\nCA=%s/certs/ca.pem\nKUBECONFIG=%s/admin.kubeconfig\n' "$(port "$dir" api)" "$dir" "$dir"
    printf 'ETCD=http://127.0.0.1:%s\n' "$(port "$dir" etcd)"
    for user in reader writer nobody; do printf 'KUBECONFIG_%s=%s/%s.kubeconfig\n' "${user^^}" "$dir" "$user"; done
    for user in admin reader writer nobody; do printf 'TOKEN_%s=%s-token\n' "${user^^}" "$user"; done
    if grep -q ^s3= "$dir/ports"; then printf 'S3=http://127.0.0.1:%s\nBUCKET=%s\n' "$(port "$dir" s3)" "$BUCKET"; fi
    printf 'PIDS="'
    for name in "$dir"/pids/*; do [ ! -e "$name" ] || printf '%s ' "$(cat "$name")"; done
    printf '"\n'
  } > "$dir/env.part"
  mv "$dir/env.part" "$dir/env"
}

api_start() { # dir
  local dir=$1 bin
  bin=$(binaries)
  run "$dir" apiserver "$bin/kube-apiserver" --etcd-servers="http://127.0.0.1:$(port "$dir" etcd)" --bind-address=127.0.0.1 \
    --advertise-address=127.0.0.1 --secure-port="$(port "$dir" api)" --cert-dir="$dir/certs" \
    --tls-cert-file="$dir/certs/server.pem" --tls-private-key-file="$dir/certs/server.key" \
    --token-auth-file="$dir/tokens.csv" --client-ca-file="$dir/certs/ca.pem" --authorization-mode=RBAC --service-account-key-file="$dir/certs/sa.pub" \
    --service-account-signing-key-file="$dir/certs/sa.key" --service-account-issuer=https://kubernetes.default.svc \
    --service-cluster-ip-range=10.0.0.0/24 --allow-privileged=true --disable-admission-plugins=ServiceAccount \
    --endpoint-reconciler-type=none --shutdown-delay-duration=0s
  wait_for "$dir" apiserver 180 curl_api "$dir" /readyz
  write_env "$dir"
}

start() { # dir
  local dir etcd peer tool
  for tool in openssl curl python3; do command -v $tool > /dev/null || absent "$tool is not installed"; done
  command -v etcd > /dev/null || absent "etcd is not installed (Debian: etcd-server)"
  binaries > /dev/null
  mkdir -p "$1/pids"
  dir=$(cd "$1" && pwd)
  touch "$dir/ports"
  etcd=http://127.0.0.1:$(port "$dir" etcd)
  peer=http://127.0.0.1:$(port "$dir" peer)
  if [ ! -e "$dir/tokens.csv" ]; then
    certificates "$dir"
    printf 'admin-token,admin,1,"system:masters"\nreader-token,reader,2\nwriter-token,writer,3\nnobody-token,nobody,4\n' > "$dir/tokens.csv"
    for user in admin reader writer nobody; do kubeconfig "$dir" $user "token: $user-token"; done
    for user in reader stranger; do
      kubeconfig "$dir" $user-certificate "client-certificate: \"$dir/certs/$user.pem\", client-key: \"$dir/certs/$user.key\""
    done
  fi
  run "$dir" etcd etcd --data-dir "$dir/etcd" --listen-client-urls "$etcd" --advertise-client-urls "$etcd" --listen-peer-urls "$peer" \
    --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" --unsafe-no-fsync
  wait_for "$dir" etcd 120 curl -sf --max-time 2 "$etcd/health"
  api_start "$dir"
  rbac "$dir"
  namespace "$dir" default
  if [ -n "${WATCHFLOOR_TEST_OWNER:-}" ]; then
    run "$dir" owner bash -c 'while kill -0 "$1" 2> /dev/null; do sleep 1; done; exec bash "$2" stop "$3"' - \
      "$WATCHFLOOR_TEST_OWNER" "$HERE/kubernetes.sh" "$dir"
  fi
  write_env "$dir"
}

argo() { # dir namespace
  local dir bin name namespace=${2:-demo}
  dir=$(cd "$1" && pwd)
  bin=$(binaries)
  local file
  for file in "$bin"/crds/argo/*.yaml; do crd "$dir" "$file" yaml; done
  namespace "$dir" "$namespace"
  wait_for "$dir" apiserver 120 curl_api "$dir" "/apis/argoproj.io/v1alpha1/namespaces/$namespace/rollouts"
  run "$dir" controllers "$bin/kube-controller-manager" --kubeconfig "$dir/admin.kubeconfig" --leader-elect=false \
    --controllers=deployment-controller,replicaset-controller,garbage-collector-controller,namespace-controller \
    --secure-port=0 --kube-api-qps=200 --kube-api-burst=400
  run "$dir" kubelet python3 "$HERE/kubelet.py" "https://127.0.0.1:$(port "$dir" api)" admin-token "$dir/certs/ca.pem"
  run "$dir" argo "$bin/rollouts-controller" --kubeconfig "$dir/admin.kubeconfig" --namespace "$namespace" --namespaced \
    --leader-elect=false --metricsport "$(port "$dir" argo-metrics)" --healthzPort "$(port "$dir" argo-health)"
  wait_for "$dir" argo 120 curl -sf --max-time 2 "http://127.0.0.1:$(port "$dir" argo-health)/healthz"
  for name in controllers kubelet; do alive "$name" "$dir/pids/$name" "$dir/$name.log"; done
  write_env "$dir"
}

moto() {
  local venv=$CACHE_ROOT/moto-5
  if [ ! -e "$venv/complete" ] && [ ! -x "$venv/bin/moto_server" ]; then
    python3 -m venv "$venv" >&2 && "$venv/bin/pip" install -q 'moto[server]>=5,<6' >&2 || absent "moto cannot be had"
  fi
  printf '%s' "$venv/bin/moto_server"
}

s3_start() { # dir
  local dir=$1 s3
  s3=http://127.0.0.1:$(port "$dir" s3)
  run "$dir" s3 "$(moto)" -H 127.0.0.1 -p "$(port "$dir" s3)"
  wait_for "$dir" s3 120 curl -sf --max-time 2 "$s3/moto-api/"
  curl -sf --max-time 60 -X PUT "$s3/$BUCKET" > /dev/null
  write_env "$dir"
}

velero() { # dir
  local dir bin s3
  dir=$(cd "$1" && pwd)
  bin=$(binaries)
  moto > /dev/null
  local file
  mkdir -p "$dir/crds"
  # One list of all in one file: taken apart.
  "$bin/velero" install --crds-only --dry-run -o json 2> /dev/null | python3 -c 'import json, sys
for i, crd in enumerate(json.load(sys.stdin)["items"]): json.dump(crd, open(f"{sys.argv[1]}/velero-{i}.json", "w"))' "$dir/crds"
  for file in "$dir"/crds/velero-*.json; do crd "$dir" "$file" json; done
  namespace "$dir" velero
  s3_start "$dir"
  s3=http://127.0.0.1:$(port "$dir" s3)
  printf '[default]\naws_access_key_id=test\naws_secret_access_key=test\n' > "$dir/s3-credentials"
  wait_for "$dir" apiserver 120 curl_api "$dir" /apis/velero.io/v1/namespaces/velero/backupstoragelocations
  apply "$dir" /apis/velero.io/v1/namespaces/velero/backupstoragelocations default \
    "{\"apiVersion\":\"velero.io/v1\",\"kind\":\"BackupStorageLocation\",\"metadata\":{\"name\":\"default\",\"namespace\":\"velero\"},\"spec\":{\"default\":true,\"provider\":\"aws\",\"objectStorage\":{\"bucket\":\"$BUCKET\"},\"config\":{\"region\":\"us-east-1\",\"s3ForcePathStyle\":\"true\",\"s3Url\":\"$s3\"}}}"
  # A Restore looks for the Deployment of Velero itself.
  apply "$dir" /apis/apps/v1/namespaces/velero/deployments velero \
    '{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"velero","namespace":"velero"},"spec":{"replicas":0,"selector":{"matchLabels":{"app":"velero"}},"template":{"metadata":{"labels":{"app":"velero"}},"spec":{"containers":[{"name":"velero","image":"velero/velero:v1.18.0"}]}}}}'
  run "$dir" velero env AWS_SHARED_CREDENTIALS_FILE="$dir/s3-credentials" VELERO_NAMESPACE=velero HOME="$dir" \
    "$bin/velero" server --namespace velero --plugin-dir "$bin/plugins" --kubeconfig "$dir/admin.kubeconfig" \
    --metrics-address "127.0.0.1:$(port "$dir" velero-metrics)" --store-validation-frequency 5s --backup-sync-period 5s
  # Namespaces that are deleted go only with their controller.
  [ -e "$dir/pids/controllers" ] || run "$dir" controllers "$bin/kube-controller-manager" --kubeconfig "$dir/admin.kubeconfig" \
    --leader-elect=false --controllers=namespace-controller,garbage-collector-controller --secure-port=0 --kube-api-qps=200 --kube-api-burst=400
  wait_for "$dir" velero 180 available "$dir"
  write_env "$dir"
}

available() { curl_api "$1" /apis/velero.io/v1/namespaces/velero/backupstoragelocations/default | grep -q '"phase": *"Available"'; }

compact() { # dir
  local etcd=http://127.0.0.1:$(port "$1" etcd) revision
  revision=$(curl -sf --max-time 30 "$etcd/v3/kv/range" -d '{"key":"AA==","count_only":true}' | python3 -c 'import json,sys; print(json.load(sys.stdin)["header"]["revision"])')
  curl -sf --max-time 60 "$etcd/v3/kv/compaction" -d "{\"revision\":\"$revision\",\"physical\":true}" > /dev/null
}

stop() { # dir
  local name
  for name in owner velero argo controllers kubelet s3 apiserver etcd; do
    case $name in
      # It may be what runs this; with nothing left to wait for, it ends with it.
      owner) [ "$(cat "$1/pids/owner" 2> /dev/null)" = $$ ] || end "$1/pids/owner" TERM 5 ;;
      *) end "$1/pids/$name" TERM 5 ;;
    esac
  done
}

case ${1:-} in
  start | argo | velero | compact | stop) verb=$1; shift; "$verb" "$@" ;;
  api-stop) end "$2/pids/apiserver" KILL ;;
  api-start) api_start "$(cd "$2" && pwd)" ;;
  s3-stop) end "$2/pids/s3" KILL ;;
  s3-start) s3_start "$(cd "$2" && pwd)" ;;
  *) sed -n '2,21p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
