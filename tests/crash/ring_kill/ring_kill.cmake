# An engine killed at random moments, and one that a message kills; more by hand.
hf_test(ring_kill crash 60 ring_kill 20)
hf_test(ring_kill_abort_1 crash 60 ring_kill abort 1)
hf_test(ring_kill_abort_2 crash 60 ring_kill abort 2)
