#!/usr/bin/env bash
# Real Kubernetes, Argo Rollouts and Velero for tests, built from their Go modules once and kept outside the repository,
# in a folder keyed by their versions.
#
#   kubernetes-build.sh            builds what is missing (about ten minutes on two cores), then prints the folder
#   kubernetes-build.sh --check    prints the folder if everything is there, else exit 77
#
# In it: kube-apiserver, kube-controller-manager, rollouts-controller, velero, plugins/velero-plugin-for-aws and
# crds/argo/*.yaml. Exit 77: something it needs is not on this machine; the reason is on stderr.
set -euo pipefail

KUBERNETES=1.34.4
ARGO=1.9.0
VELERO=1.18.0
VELERO_AWS=1.14.2
KOPIA=v0.0.0-20251230033609-d946b1e75197
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
OUT=$CACHE_ROOT/kubernetes-$KUBERNETES-argo-$ARGO-velero-$VELERO

if [ -e "$OUT/complete" ]; then echo "$OUT"; exit 0; fi
[ "${1:-}" != --check ] || exit 77
command -v go >/dev/null || absent "Go, to build Kubernetes with"
mkdir -p "$OUT/plugins" "$OUT/crds"
exec 9>"$OUT.lock"
flock 9
WORK=$(mktemp -d "$CACHE_ROOT/kubernetes-build.XXXXXX")
trap 'rm -rf "$WORK"' EXIT
export CGO_ENABLED=0 GOFLAGS=-mod=mod

# A module of our own around somebody's main packages: they have replace directives, which `go install` refuses. The build
# tag keeps the imports of main packages out of normal builds.
wrap() { # name packages...
  local name=$1 package
  shift
  mkdir -p "$WORK/$name"
  cd "$WORK/$name"
  go mod init "local/$name" 2>/dev/null
  { printf '//go:build tools\n\npackage tools\n\nimport (\n'
    for package in "$@"; do printf '\t_ "%s"\n' "$package"; done
    printf ')\n'; } > tools.go
}

fetch() { go mod tidy >"$WORK/log" 2>&1 || { tail -5 "$WORK/log" >&2; absent "the Go modules of $1 cannot be had"; }; }

build() { # destination packages...
  local destination=$1
  shift
  nice -n 10 go build -p 2 -trimpath -tags tools -ldflags "-s -w ${LDFLAGS:-}" -o "$destination" "$@"
}

if [ ! -x "$OUT/kube-controller-manager" ]; then
  wrap kubernetes k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-controller-manager
  go mod edit -require=k8s.io/kubernetes@v$KUBERNETES
  for m in api apiextensions-apiserver apimachinery apiserver cli-runtime client-go cloud-provider cluster-bootstrap \
    code-generator component-base component-helpers controller-manager cri-api cri-client csi-translation-lib \
    dynamic-resource-allocation endpointslice externaljwt kms kube-aggregator kube-controller-manager kube-proxy \
    kube-scheduler kubectl kubelet metrics mount-utils pod-security-admission sample-apiserver sample-cli-plugin \
    sample-controller; do
    go mod edit -replace=k8s.io/$m=k8s.io/$m@v0.${KUBERNETES#1.}
  done
  fetch Kubernetes
  X=k8s.io/component-base/version
  LDFLAGS="-X $X.gitVersion=v$KUBERNETES -X $X.gitMajor=1 -X $X.gitMinor=34" \
    build "$WORK/" k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-controller-manager
  mv "$WORK/kube-apiserver" "$WORK/kube-controller-manager" "$OUT/"
fi

if [ ! -x "$OUT/rollouts-controller" ]; then
  wrap argo github.com/argoproj/argo-rollouts/cmd/rollouts-controller
  go mod edit -require=github.com/argoproj/argo-rollouts@v$ARGO
  go mod download github.com/argoproj/argo-rollouts@v$ARGO >/dev/null 2>&1 || absent "the Go module of Argo Rollouts"
  SRC=$(go list -m -f '{{.Dir}}' github.com/argoproj/argo-rollouts@v$ARGO)
  go mod edit -json "$SRC/go.mod" | python3 -c '
import json, sys
for r in json.load(sys.stdin).get("Replace") or []:
    old, new = r["Old"], r["New"]
    print("%s%s=%s@%s" % (old["Path"], "@" + old["Version"] if old.get("Version") else "", new["Path"], new["Version"]))
' | while read -r r; do go mod edit -replace="$r"; done
  fetch "Argo Rollouts"
  build "$WORK/bin-rollouts" github.com/argoproj/argo-rollouts/cmd/rollouts-controller
  mkdir -p "$OUT/crds/argo"
  cp "$SRC"/manifests/crds/*-crd.yaml "$OUT/crds/argo/"
  chmod -R u+w "$OUT/crds"
  mv "$WORK/bin-rollouts" "$OUT/rollouts-controller"
fi

if [ ! -x "$OUT/velero" ]; then
  wrap velero github.com/vmware-tanzu/velero/cmd/velero
  go mod edit -require=github.com/vmware-tanzu/velero@v$VELERO \
    -replace=github.com/kopia/kopia=github.com/project-velero/kopia@$KOPIA
  fetch Velero
  build "$WORK/bin-velero" github.com/vmware-tanzu/velero/cmd/velero
  mv "$WORK/bin-velero" "$OUT/velero"
fi

if [ ! -x "$OUT/plugins/velero-plugin-for-aws" ]; then
  wrap aws github.com/vmware-tanzu/velero-plugin-for-aws/velero-plugin-for-aws
  go mod edit -require=github.com/vmware-tanzu/velero@v$VELERO -require=github.com/vmware-tanzu/velero-plugin-for-aws@v$VELERO_AWS \
    -replace=github.com/kopia/kopia=github.com/project-velero/kopia@$KOPIA
  fetch "Velero's plugin for S3"
  build "$WORK/bin-aws" github.com/vmware-tanzu/velero-plugin-for-aws/velero-plugin-for-aws
  mv "$WORK/bin-aws" "$OUT/plugins/velero-plugin-for-aws"
fi

touch "$OUT/complete"
echo "$OUT"
