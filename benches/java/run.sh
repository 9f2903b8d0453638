#!/bin/sh
# Compiles and starts the Java ways: run.sh SOCKET, the file of PostgreSQL's Unix socket. `cargo bench --bench bookings`
# calls it. Ends with 69 where the JDK or a library is missing. On Debian:
#   apt-get install default-jdk-headless libpostgresql-jdbc-java libhibernate3-java libjavassist-java libjunixsocket-java
set -eu
socket=${1:?run.sh SOCKET}
here=$(cd "$(dirname "$0")" && pwd)
classes=$here/../../target/java
jars=/usr/share/java

missing() {
    echo "$1 is missing; see the first lines of benches/java/run.sh" >&2
    exit 69
}
for program in java javac; do
    command -v $program >/dev/null || missing $program
done
path=$classes:$here
for jar in postgresql junixsocket-common hibernate-core hibernate-commons-annotations geronimo-jpa_2.0_spec \
    geronimo-jta-1.2-spec javassist dom4j antlr commons-collections3 slf4j-api slf4j-nop; do
    [ -e "$jars/$jar.jar" ] || missing "$jars/$jar.jar"
    path=$path:$jars/$jar.jar
done
mkdir -p "$classes"
javac -proc:none -nowarn -d "$classes" -cp "$path" "$here"/*.java >&2
# The native part of junixsocket is in a folder of the architecture's.
natives=$(ls -d /usr/lib/*/jni /usr/lib/jni 2>/dev/null | tr '\n' ':')
exec java -Xmx1g -Djava.library.path="$natives" --add-opens java.base/java.lang=ALL-UNNAMED \
    -cp "$path" waitroom.Main "$socket"
