#!/bin/bash
# The hand of the tests in the guest: a line NUMBER on the serial port runs NUMBER.cmd of this folder, beside what
# runs already, and leaves NUMBER.stdout, NUMBER.stderr and, last, NUMBER.rc.
folder=${0%/*}
. "$folder/serve.env" # PATH, and where commands start
cd "$start_in"

serve() {
    (. "$folder/$1.cmd") </dev/null >"$folder/$1.stdout" 2>"$folder/$1.stderr"
    echo $? >"$folder/$1.rc"
}

exec 3</dev/ttyS0
ip link set lo up
echo up >"$folder/up"
while read -r number <&3; do
    serve "$number" 3<&- &
done
