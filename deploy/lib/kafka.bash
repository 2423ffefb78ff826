# A real Apache Kafka without a container: its jars from Maven Central, kept in the user's cache,
# and one KRaft node on free ports. Sourced; needs process.bash, except for kafka_fetch.
# shellcheck shell=bash disable=SC2034,SC2154 # names shared with whoever sources it

kafka_lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
kafka_version=$(sed -n 's/.*<kafka.version>\(.*\)<.*/\1/p' "$kafka_lib/pom.xml")
kafka_home=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/outbox-relay/kafka-$kafka_version
# A small heap and a light compiler: it is up in 3 s, and that is what counts here.
kafka_java=(java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1
    "-Dlog4j2.configurationFile=$kafka_lib/log4j2.properties" -cp "$kafka_home/*")

kafka_fetched() { [[ -d $kafka_home ]]; }
kafka_fetch() { jars_fetch "$kafka_lib/pom.xml" "$kafka_home" "kafka_2.13-$kafka_version.jar"; }

# jars_fetch POM HOME JAR [OPTION...]: the jars that a POM names, that JAR among them; options are
# mvn's. Fetched beside their place and renamed into it, so that a cut download is never taken for
# a whole one and two at a time do not hurt each other.
jars_fetch() (
    set -e
    pom=$1 home=$2 jar=$3
    if [[ -d $home ]]; then return 0; fi
    mkdir -p "$(dirname "$home")"
    temp=$(mktemp -d "$(dirname "$home")/.fetch-XXXXXX")
    trap 'rm -rf "$temp"' EXIT
    trap 'exit 143' TERM INT HUP
    # Its own repository: with the one in the home folder, a broken file there would break this.
    mvn -q -B -f "$pom" -Dmaven.repo.local="$temp/repository" "${@:4}" \
        dependency:copy-dependencies -DoutputDirectory="$temp/jars" </dev/null
    [[ -e $temp/jars/$jar ]]
    mv -T "$temp/jars" "$home" 2>/dev/null || [[ -d $home ]]
)

# kafka_answers PORT
kafka_answers() { kcat -L -m 2 -b "127.0.0.1:$1"; }

# kafka_start DIR PORT CONTROLLER_PORT: formats and starts a node; it answers when this returns 0.
kafka_start() {
    local dir=$1 port=$2 controller=$3 log=$1/kafka.log id
    mkdir -p "$dir/kafka"
    sed -e 's/@NODE_ID@/1/' -e "s/@VOTERS@/1@127.0.0.1:$controller/" -e "s/@PORT@/$port/" \
        -e "s/@CONTROLLER_PORT@/$controller/" -e "s|@LOG_DIR@|$dir/kafka/data|" \
        -e 's/@REPLICATION@/1/' -e 's/@MIN_ISR@/1/' -e 's/@AUTO_CREATE@/true/' \
        "$kafka_lib/kafka.properties" >"$dir/kafka/server.properties"
    # A cluster id is 16 bytes in base64url: 21 characters that may be anything and one of AQgw.
    id=$(head -c 300 /dev/urandom | base64 -w 0 | tr -dc A-Za-z0-9 | head -c 21)A
    process_run "$log" "${kafka_java[@]}" kafka.tools.StorageTool format -t "$id" \
        -c "$dir/kafka/server.properties" || return 1
    process_spawn kafka "$log" "${kafka_java[@]}" kafka.Kafka "$dir/kafka/server.properties"
    process_wait "$process_pid" "$log" 60 kafka_answers "$port"
}
