# Debezium's connector and Kafka Connect, from Maven Central, kept in the user's cache beside Kafka.
# Sourced; needs kafka.bash.
# shellcheck shell=bash disable=SC2154 # names shared with whoever sources it

debezium_pom=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/debezium.xml
debezium_version=$(sed -n 's/.*<debezium.version>\(.*\)<.*/\1/p' "$debezium_pom")
debezium_home=$(dirname "$kafka_home")/debezium-$debezium_version-kafka-$kafka_version

debezium_fetched() { [[ -d $debezium_home ]]; }
debezium_fetch() {
    jars_fetch "$debezium_pom" "$debezium_home" "debezium-connector-postgres-$debezium_version.jar" \
        "-Dkafka.version=$kafka_version"
}
