# situations.sh - the stores that the situations of docs/operations.md are about, and what
# must be true afterwards. Read by operations.sh. begin_TITLE, before_N_TITLE, end_TITLE.
# shellcheck shell=sh disable=SC2034

some_dead() { # three of them
    start
    ID=$(sent order/7 '{"total":"12,50","currency":"DM"}' --kind parse --count 3)
    soon '"dead":3' holdfast ls errors --json
}

begin_is_all_well() { some_dead; }
end_is_all_well() { must '"dead":3' holdfast ls errors --json; }

begin_the_message_itself_is_wrong() { some_dead; }
before_1_the_message_itself_is_wrong() { mend; }
end_the_message_itself_is_wrong() { soon '"state":{"n":3}' holdfast actor order/7 --json; }

begin_some_messages_into_another_store() {
    some_dead
    sleep 0.1 | ops_shop "$root/var/lib/test" >/dev/null 2>>log
}
end_some_messages_into_another_store() { must Sound holdfast verify -d "$root/var/lib/test"; }

begin_one_order_is_stuck() {
    start
    ID=$(sent payment/42 '{"order":"order/42","total":129}' --kind pay)
    quietly holdfast send order/42 '{"total":129}' --kind place
    soon '"retrying":1' holdfast ls errors --json
}
before_2_one_order_is_stuck() { mend; }
end_one_order_is_stuck() { soon '"why":"nothing"' holdfast actor payment/42 --json; }

begin_a_bad_deploy_killed_4_000_orders() {
    start
    quietly holdfast send order/7 '{"total":"12,50"}' --kind parse --count 400
    soon '"dead":400' holdfast ls errors --json
}
before_2_a_bad_deploy_killed_4_000_orders() { stop; mend; start; }
end_a_bad_deploy_killed_4_000_orders() {
    soon '"groups":0' holdfast ls errors --json
    must '"waiting":0' holdfast stats --json
}

begin_the_bank_is_down() {
    start
    quietly holdfast send payment/1 '{"total":1}' --kind pay
    soon '"retrying":1' holdfast ls errors --json
}
before_2_the_bank_is_down() { mend; }
end_the_bank_is_down() { soon '"groups":0' holdfast ls errors --json; }

begin_the_engine_is_in_a_crash_loop() {
    start
    sent order/13 '{"total":13}' --kind poison >/dev/null # the engine may die before it answers
    wait "$pid" 2>/dev/null # dead by its own message
    exec 9>&-
    (
        exec >/dev/null 2>&1 # a service manager: starts it again and again
        : >up
        while [ -e up ]; do
            sleep 2 | ops_shop "$store"
        done
    ) &
    supervisor=$!
    pid=
    soon '"why":"strike"' holdfast actor order/13 --json
    ID=$(holdfast find --where 'actor = order/13' --plain --fields id 2>>log)
}
before_2_the_engine_is_in_a_crash_loop() {
    rm -f up
    wait $supervisor 2>/dev/null
    supervisor=
    mend
    start
    soon '"status":"dead"' holdfast show "$ID" --json
}
end_the_engine_is_in_a_crash_loop() { soon '"state":{"n":1}' holdfast actor order/13 --json; }

begin_the_machine_lost_power() {
    start
    quietly holdfast send order/1 '{"total":1}' --kind place --count 100
    quietly holdfast send payment/42 '{"total":1}' --kind pay
    murder
}
end_the_machine_lost_power() { must '"state":{"n":100}' holdfast actor order/1 --json; }

begin_the_disk_is_full() {
    start small
    head -c 100000 /dev/zero | tr '\0' x >letter
    while holdfast send order/8 - --raw --kind parse <letter >/dev/null 2>said; do :; done
    grep -q "disk or store is full" said || die "not full: $(cat said)"
    soon '"waiting":0,' holdfast stats --json
}
before_3_the_disk_is_full() { stop; }
end_the_disk_is_full() {
    [ -e "$root/mnt/larger/shop/data.mdb" ] || die "nothing moved"
    must Sound holdfast verify -d "$root/mnt/larger/shop"
}

begin_a_page_is_damaged() {
    start
    for n in 1 2 3 4 5 6 7 8; do
        quietly holdfast send order/$n '{"total":"12,50"}' --kind parse --count 100
    done
    soon '"dead":800' holdfast ls errors --json
    quietly holdfast backup "$root/backup/shop.hfb"
    stop
    damage
}
# Overwrite a leaf of the table of dead letters: its text is there many times.
damage() {
    offset=$(grep -abo 'cannot parse the price' "$store/data.mdb" | tail -1 | cut -d: -f1)
    printf XXXX | dd of="$store/data.mdb" bs=1 seek=$((offset + 3)) conv=notrunc 2>/dev/null
    is=0
    holdfast verify >/dev/null 2>&1 || is=$?
    [ $is -eq 5 ] || die "not damaged: verify ends with $is"
}
end_a_page_is_damaged() {
    must '"groups":1' holdfast ls errors --json -d "$root/var/lib/shop.salvaged"
}

begin_the_store_won_t_open() {
    start
    quietly holdfast send order/1 '{"total":1}' --kind place
}
shop() { ops_shop "$@" </dev/null; }
end_the_store_won_t_open() { soon '"state":{"n":1}' holdfast actor order/1 --json; }

begin_last_night_s_backup() {
    start
    ID=$(sent payment/42 '{"total":129}' --kind pay)
    soon '"retrying":1' holdfast ls errors --json
}
end_last_night_s_backup() {
    must '"retrying":1' holdfast ls errors --json
    mend
    quietly holdfast requeue --where 'status = retrying' --yes
    soon '"groups":0' holdfast ls errors --json
}

begin_move_to_another_machine() {
    start
    quietly holdfast send payment/42 '{"total":129}' --kind pay
    soon '"retrying":1' holdfast ls errors --json
}
end_move_to_another_machine() {
    must '"retrying":1' holdfast ls errors --json -d "$root/new/var/lib/shop"
}

begin_the_file_grows() {
    start
    quietly holdfast send order/7 '{"total":"12,50"}' --kind parse --count 2000
    soon '"dead":2000' holdfast ls errors --json
}
end_the_file_grows() { must Sound holdfast verify; }

begin_a_customer_cancelled() {
    start
    quietly holdfast pause payment
    ID=$(sent payment/42 '{"order":"order/42","customer":"CUST-7"}' --kind pay)
    quietly holdfast send payment/43 '{"order":"order/43","customer":"CUST-8"}' --kind pay
}
end_a_customer_cancelled() {
    must '"status":"dead"' holdfast show "$ID" --json
    must '"paused":1' holdfast ls --json
}
