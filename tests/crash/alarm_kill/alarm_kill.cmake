# Each alarm has its effect once, also when the process is killed among them.
hf_test(alarm_kill crash 60 alarm_kill)
hf_test(alarm_kill_1000000 "soak;heavy" 600 alarm_kill 1000000 60 10)
