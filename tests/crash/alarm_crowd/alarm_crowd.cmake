# Many alarms in a store whose process was killed: what they cost, and that each comes once.
if(NOT HF_SANITIZE MATCHES "thread") # a process that forks while a thread of it watches
    hf_test(alarm_crowd crash 60 alarm_crowd 100000 1000 overdue)
    hf_test(alarm_crowd_later crash 60 alarm_crowd 300000 1000 future)
endif()
# At most twice the window's budget in anonymous memory, at most a second to the first turn.
hf_test(alarm_crowd_soak "soak;heavy" 900 alarm_crowd 10000000 1000 future 268 1000)
hf_test(alarm_crowd_overdue_soak "soak;heavy" 1800 alarm_crowd 10000000 1000 overdue 268 1000)
