/* SPDX-License-Identifier: MIT */
/*
 * The errors that a check finds, gathered by each worker for itself.
 *
 * Who may call: findings_add each worker on its own list; the rest one thread,
 * when no worker runs.
 */
#ifndef REFSTORM_ORACLE_FINDINGS_H
#define REFSTORM_ORACLE_FINDINGS_H

#include "core/base/order.h"
#include "stress/oracle/backref.h"

struct findings {
	struct backref_error *errors;
	size_t count;
	size_t capacity;
	uint64_t left_out; /* over BACKREF_ERRORS_MAX */
} __attribute__((aligned(ORDER_LINE)));

/* 0 or -ENOMEM. */
int findings_add(struct findings *findings, enum backref_kind kind, uint64_t bytenr,
		 const char *format, ...) __attribute__((warn_unused_result, format(printf, 4, 5)));

/*
 * Moves what the lists hold into the report, ascending by address; what several
 * workers found alike stands there once. 0 or -ENOMEM.
 */
int findings_report(struct findings *lists, unsigned count, struct backref_report *report)
	__attribute__((warn_unused_result));

void findings_destroy(struct findings *lists, unsigned count);

#endif /* REFSTORM_ORACLE_FINDINGS_H */
