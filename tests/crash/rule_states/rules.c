/* rules.c - the rules there are: one line each. */
#include "tests/crash/rule_states/rules.h"

extern const rule rule_plain;

const rule *const rules[] = { &rule_plain };
const unsigned    rule_count = sizeof rules / sizeof *rules;
