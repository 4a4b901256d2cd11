/* SPDX-License-Identifier: MIT */
/* What a run did, for people and as JSON. Callers: main, when the threads have ended or never will. */
#ifndef REFSTORM_STRESS_RECORD_REPORT_H
#define REFSTORM_STRESS_RECORD_REPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "stress/record/stress.h"

void report_text(FILE *to, const struct stress *stress, enum stress_verdict verdict);

/* To options->json, if that is set. False after a message. */
bool report_json(const struct stress *stress, enum stress_verdict verdict, int argc, char **argv);

#endif /* REFSTORM_STRESS_RECORD_REPORT_H */
