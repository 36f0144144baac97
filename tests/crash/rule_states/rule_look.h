/* rule_look.h - a store at rest, as a rule's check sees it. */
#ifndef RULE_LOOK_H
#define RULE_LOOK_H

#include "tests/crash/rule_states/rules.h"

const char *rule_check(const rule *by, const char *path, const rule_moment *known);

#endif
