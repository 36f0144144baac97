# A writer killed at random moments; a thousand kills by hand.
hf_test(store_kill crash 120 store_kill 30)
