/* replay.h - bring back what the log of a store says. */
#ifndef RECOVERY_REPLAY_H
#define RECOVERY_REPLAY_H

#include "storage/log.h"

/* Between hf_log_open and hf_log_start: adopt every record that lies in the
 * log table. The window bounds the work, not the backlog. HF_ECORRUPT: a
 * record is damaged or one is missing; the detail says `holdfast salvage`. */
int hf_replay(hf_log *log);

#endif
