# Backups beside an engine that is written to as fast as it goes.
hf_test_program(copies_load tests/flow/copies/copies_load.c)
hf_test(copies_load flow 120 copies_load 4)
hf_test(copies_load_soak "soak;heavy" 1800 copies_load 60)
