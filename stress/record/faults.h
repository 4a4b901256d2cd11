/* SPDX-License-Identifier: MIT */
/* What the oracle found wrong. Any thread. */
#ifndef REFSTORM_STRESS_RECORD_FAULTS_H
#define REFSTORM_STRESS_RECORD_FAULTS_H

#include <stdint.h>

/* Counts it; the first FAULTS_SHOWN are printed on standard error. */
#define FAULTS_SHOWN 20U
void faults_report(const char *format, ...) __attribute__((format(printf, 1, 2)));

uint64_t faults_count(void);

#endif /* REFSTORM_STRESS_RECORD_FAULTS_H */
