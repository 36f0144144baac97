# What a promise says in full, where the test that runs each time says it in small.
hf_test(breaker_minute "soak;heavy" 300 test_breaker minute)
