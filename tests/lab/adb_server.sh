#!/bin/sh
# adb_server.sh ADB: an adb server for as long as our stdin is open.
"$1" nodaemon server >&2 &
server=$!
echo ready
cat > /dev/null
kill "$server"
wait "$server"
