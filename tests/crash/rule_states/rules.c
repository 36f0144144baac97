/* rules.c - the rules there are: one line each. */
#include "tests/crash/rule_states/rules.h"

extern const rule rule_alarms;
extern const rule rule_plain;
extern const rule rule_schedule;
extern const rule rule_ask;
extern const rule rule_topics;
extern const rule rule_join;
extern const rule rule_rows;
extern const rule rule_limits;
extern const rule rule_flush;
extern const rule rule_door;
extern const rule rule_history;
extern const rule rule_edit;
extern const rule rule_ends;

const rule *const rules[] = { &rule_plain,  &rule_alarms, &rule_schedule, &rule_rows,
                              &rule_topics, &rule_join,   &rule_ask,      &rule_limits,
                              &rule_flush,  &rule_door,   &rule_history,  &rule_edit,
                              &rule_ends };
const unsigned    rule_count = sizeof rules / sizeof *rules;
