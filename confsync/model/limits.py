"""Every bound and time-out of the system in one table; their relations hold or nothing imports.

Separate so that a reviewer can see all numbers at once and no wait, queue or body is unbounded.
Units: seconds (`_s`) and bytes (`_bytes`) unless the name says otherwise.
"""

from __future__ import annotations

from typing import Final

# --- documents (sources: the KV rules of our tree; Consul refuses values over 512 KiB)
DOCUMENT_BYTES: Final = 64 * 1024
SNAPSHOT_BYTES: Final = 4 * 1024 * 1024
DOCUMENT_DEPTH: Final = 32
DOCUMENT_LEAVES: Final = 10_000
DOCUMENT_FAULTS: Final = 50  # reported of one document; more do not help to mend it
STRING_CHARS: Final = 4096
KEY_BYTES: Final = 200
INTEGER_DIGITS: Final = 20
GUARD_LEAVES: Final = 10  # a share of fewer leaves says nothing about a mass removal

# --- Consul (blocking queries: the server adds up to wait/16)
CONSUL_WAIT_S: Final = 55.0
CONSUL_WAIT_SLACK_S: Final = CONSUL_WAIT_S / 16 + 10.0
CONSUL_CONNECT_S: Final = 3.0
CONSUL_READ_S: Final = 10.0
CONSUL_IDLE_S: Final = 4  # of a connection, before the other end is asked whether it is there ...
CONSUL_PROBE_S: Final = 2
CONSUL_PROBES: Final = 3  # ... so often
CONSUL_UNHEARD_MS: Final = 8_000  # that what we sent may stay unheard
WAY_HOME_S: Final = 5.0
BACKOFF_MIN_S: Final = 0.25
BACKOFF_MAX_S: Final = 30.0
BACKOFF_AWAY_S: Final = 2.0  # while nobody answers: a site that is back is read within this
LARGE_ANSWER_BYTES: Final = 256 * 1024  # read in a thread: ten milliseconds of the loop's time
TXN_OPS: Final = 64
TXN_BYTES: Final = 350 * 1024
CHANGES_KEPT: Final = 200
HEAD_BYTES: Final = 16 * 1024
RECORD_BYTES: Final = 256 * 1024  # of one change; some two thousand documents
CONSUL_TREE_BYTES: Final = 32 * 1024 * 1024  # the whole fleet's tree, read by `push` only
CONSUL_ERROR_CHARS: Final = 256
CONSUL_RETRY_AFTER_S: Final = 60.0  # the most that a server may ask us to wait
CLOCK_OFF_S: Final = 2.0  # between our clock and Consul's, before it is told
RECORDS_S: Final = 3.0  # who wrote a value is worth no longer wait
WATCH_GAP_S: Final = 0.02  # between two queries of one watch, while content really changes
WATCH_IDLE_BURST: Final = 2  # replies that came early and brought nothing ...
WATCH_IDLE_EVERY_S: Final = 15.0  # ... and then one in so many seconds
EMPTY_LAYER_S: Final = 60.0
PUBLISHING_S: Final = 60.0  # after this a push that never ended may be overtaken

# --- one agent for a site (Consul takes sessions from 10 s on, and ends them at twice their time)
LEASE_TTL_S: Final = 15.0
LEASE_RENEW_S: Final = LEASE_TTL_S / 3
LEASE_END_S: Final = 2.0  # to give it up at our end; it ends by itself if we cannot
LEASE_LOOK_S: Final = 5.0  # between two looks at a lease that another agent holds, or that we hold
MIRROR_GAP: Final = 32  # changes that are read one by one; beyond, all manifests are compared
MIRROR_LOOK_S: Final = 60.0  # without a wake
MIRROR_RETRY_S: Final = 2.0  # after a failure: one agent of a site asks, and wants to know soon
MIRROR_AGAIN_S: Final = 0.1  # after an edit in between
MIRROR_TORN_S: Final = 60.0  # without home, before a copy that was cut is undone

# --- what one agent does for its site
SITE_RETRY_S: Final = 5.0
SITE_SETTLE_S: Final = 5.0  # before a report of a node counts as one from after the change
SITE_LOOK_S: Final = 2.0  # between two looks at all reports
SITE_VERIFY_S: Final = 80.0

# --- host
BIRD_COMMAND_S: Final = 5.0
BIRD_REPLY_BYTES: Final = 16 * 1024 * 1024
BIRD_COMMAND_BYTES: Final = 1000
BIRD_LINE_BYTES: Final = 4096  # BIRD cuts its own lines at 512
BIRD_FILE_BYTES: Final = 8 * 1024 * 1024
BIRD_INCLUDES: Final = 256  # files that one configuration may consist of
BIRD_INCLUDE_DEPTH: Final = 8  # BIRD's own bound
BIRD_PASSWORD_BYTES: Final = 80  # Linux TCP-MD5; a longer one leaves the session down, silently
BIRD_POLL_S: Final = 0.01
BIRD_CHECK_S: Final = 10.0
BIRD_CONFIGURE_S: Final = 10.0
BIRD_SINCE_WAVERS_S: Final = 0.5  # `since` of an untouched session was seen to differ by 2 ms
CHILD_OUTPUT_BYTES: Final = 64 * 1024
CHILD_CPU_S: Final = 10
NETLINK_S: Final = 1.0
CHILD_MEMORY_BYTES: Final = 1024 * 1024 * 1024
FREE_DISK_BYTES: Final = 16 * 1024 * 1024

# --- BGP sections (sources: RFC 4271 and 7607; BIRD 2.0.12 takes symbols up to 64 characters and
# aborts on a quoted string above about 4.1 kB)
BGP_NAME_CHARS: Final = 48
BGP_TEXT_CHARS: Final = 255
BGP_PATH_BYTES: Final = 255
BGP_TIMER_MAX_S: Final = 65_535
BGP_HOLD_MIN_S: Final = 3
BGP_DELAY_MAX_S: Final = 3_600
BFD_INTERVAL_MIN_MS: Final = 10
BFD_INTERVAL_MAX_MS: Final = 60_000
BFD_INTERVAL_SAFE_MS: Final = 100
BFD_MULTIPLIER_MAX: Final = 255
BIRD_SYMBOL_CHARS: Final = 64
BGP_MULTIHOP: Final = 64  # what BIRD takes a bare `multihop` for
VERIFY_HITLESS_S: Final = 3.0
VERIFY_RESET_S: Final = 15.0
CONVERGE_S: Final = 5.0
HOLD_HITLESS_S: Final = 1.0
HOLD_RESET_S: Final = 3.0

# --- LVM (measured: a report takes 50 ms, a change 0.1 to 1 s)
LVM_READ_S: Final = 20.0
LVM_CHANGE_S: Final = 120.0  # then it is asked to end ...
LVM_PATIENCE_S: Final = 30.0  # ... and is left to itself if it does not
LVM_LOCK_S: Final = 10.0  # for a group that another lvm holds
LVM_EVERY_S: Final = 1.0  # between two looks while health is waited for
LVM_OUTPUT_BYTES: Final = 16 * 1024 * 1024
TOLD_CHARS: Final = 300  # of what a program said

# --- Felix (it exits some 2 s after it was asked to, and is ready a few seconds after its start)
SERVICE_READ_S: Final = 10.0
SERVICE_RESTART_S: Final = 25.0
FELIX_FILE_BYTES: Final = 256 * 1024
FELIX_ANSWER_S: Final = 2.0
FELIX_VERIFY_S: Final = 60.0
FELIX_HOLD_S: Final = 3.0
FELIX_RESTARTS: Final = 3  # that nobody asked for: it will not come up

# --- Calico (a call of calicoctl takes some 50 ms, over a slow line a second)
CALICO_CALL_S: Final = 20.0
CALICO_OUTPUT_BYTES: Final = 16 * 1024 * 1024
CALICO_PATCH_BYTES: Final = 120 * 1024  # it is an argument, of which Linux takes 128 KiB
CALICO_UNDO_S: Final = 8.0  # for one object's way back to begin once more
CALICO_UNDO_WAIT_S: Final = 1.0  # between two tries of it
CALICO_MEMORY_BYTES: Final = 4 * 1024 * 1024 * 1024  # Go reserves far more than it uses

# --- transaction
SAMPLE_EVERY_S: Final = 0.2
ROUTES_KEPT: Final = 0.5  # of the routes that a change does not speak of
COMMAND_S: Final = 5.0  # an operator's own check
COMMAND_EVERY_S: Final = 1.0
VERIFY_MAX_S: Final = 90.0
COMMIT_MARGIN_S: Final = 30.0
COMMIT_TRIES: Final = 3
TRANSIENT_TRIES: Final = 3
HISTORY_KEPT: Final = 200
RETIRED_KEPT_S: Final = 7 * 86_400  # a volume, before it may be removed for good

REPAIR_WAIT_S: Final = 60.0  # after the first repair of drift; doubled after each ...
REPAIR_DOUBLINGS: Final = 6  # ... up to about an hour
REPAIR_GOOD_S: Final = 3600.0  # this long without drift, and the next repair comes at once again
CONTENDED_REWRITES: Final = 2  # another hand over ours, and we stop writing
CONTENDED_S: Final = 86_400.0  # this long without drift, and rewrites are forgotten

# --- what others are told of a node
REPORT_TICK_S: Final = 1.0  # a burst of transitions is one report
REPORT_EVERY_S: Final = 60.0  # without a transition
REPORT_RETRY_S: Final = 5.0
REPORT_LATE_S: Final = 10.0  # one that is still of the last round
REPORT_SILENT_S: Final = 3 * REPORT_EVERY_S  # a report that is older tells of the past
FLEET_S: Final = 3.0  # for one site to answer

# --- MQTT
MQTT_EVENTS: Final = 1_000  # that wait for a broker, on disk
MQTT_BATCH: Final = 50
MQTT_TEXT_CHARS: Final = 1_000
MQTT_PASSWORD_BYTES: Final = 1_024
MQTT_CONNECT_S: Final = 5.0
MQTT_ANSWER_S: Final = 10.0
MQTT_BYE_S: Final = 2.0  # for each of the last two words
MQTT_KEEPALIVE_S: Final = 15  # a broker that hangs is noticed at twice that
MQTT_WILL_S: Final = 30  # before a lost connection is told: it may come back
MQTT_STATE_S: Final = 180  # then a state is worth nothing, and the broker forgets it
MQTT_TICK_S: Final = 1.0
MQTT_RETRY_MIN_S: Final = 1.0
MQTT_RETRY_MAX_S: Final = 60.0

# --- agent
PULSE_S: Final = 5.0  # between two short looks for a foreign hand (measured: 0.2 ms each)
STALE_AFTER_S: Final = 130.0
READY_GRACE_S: Final = 10.0
RETRY_S: Final = 5.0
TICK_S: Final = 1.0
SWITCH_S: Final = 0.0005
WATCHDOG_FEED_S: Final = 10.0
WATCHDOG_S: Final = 30.0
STOP_S: Final = 240.0
HTTP_HEADER_BYTES: Final = 4096
HTTP_REQUEST_S: Final = 2.0
HTTP_BODY_BYTES: Final = 4096
HTTP_CONNECTIONS: Final = 256
HTTP_CONNECTIONS_PER_PEER: Final = 32
HTTP_STOP_S: Final = 1.0
LOCAL_CALL_S: Final = STOP_S + 10.0
SETTINGS_BYTES: Final = 256 * 1024

assert REPORT_EVERY_S + SITE_SETTLE_S + 2 * SITE_LOOK_S < SITE_VERIFY_S < VERIFY_MAX_S, (
    "each node of a site can report before a change of the site is judged"
)
assert MQTT_STATE_S > 2 * REPORT_EVERY_S, "a state that is told again does not expire before"
assert LEASE_RENEW_S + CONSUL_READ_S <= LEASE_TTL_S, "a renewal that fails is known in time"
assert CONSUL_WAIT_S + CONSUL_WAIT_SLACK_S < STALE_AFTER_S, "an idle watch must not look stale"
assert WATCHDOG_FEED_S * 2 < WATCHDOG_S, "one missed feed must not kill the agent"
assert (
    max(BIRD_CHECK_S, BIRD_CONFIGURE_S, WAY_HOME_S, LVM_READ_S, SERVICE_RESTART_S, CALICO_CALL_S)
    < WATCHDOG_S
), "no await outlives the watchdog"
assert COMMAND_S < COMMIT_MARGIN_S, "the last round of checks ends inside the window"
assert LVM_CHANGE_S + LVM_PATIENCE_S < STOP_S, "an lvm that hangs is told of before we are killed"
assert 2 * VERIFY_MAX_S + COMMIT_MARGIN_S < STOP_S, "health and hold end in time"
