/* openmetrics.h - a row of the question `stats` in the text format of OpenMetrics. */
#ifndef TOOLS_OPENMETRICS_H
#define TOOLS_OPENMETRICS_H

#include "tools/pack.h"

void cli_openmetrics(cli_buffer *to, hf_bytes stats);

#endif
