/* SPDX-License-Identifier: MIT */
#include "stress/oracle/findings.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/array.h"

int findings_add(struct findings *findings, enum backref_kind kind, uint64_t bytenr,
		 const char *format, ...)
{
	struct backref_error *error;
	va_list arguments;

	if (findings->count == BACKREF_ERRORS_MAX) {
		findings->left_out++;
		return 0;
	}
	error = array_grow(findings->errors, findings->count, 1, &findings->capacity,
			   sizeof(*error));
	if (!error)
		return -ENOMEM;
	findings->errors = error;
	error = &findings->errors[findings->count++];
	*error = (struct backref_error){ .kind = kind, .bytenr = bytenr };
	va_start(arguments, format);
	vsnprintf(error->detail, sizeof(error->detail), format, arguments);
	va_end(arguments);
	return 0;
}

static int compare_errors(const void *a, const void *b)
{
	const struct backref_error *left = a;
	const struct backref_error *right = b;

	if (left->bytenr != right->bytenr)
		return left->bytenr < right->bytenr ? -1 : 1;
	if (left->kind != right->kind)
		return left->kind < right->kind ? -1 : 1;
	return strcmp(left->detail, right->detail);
}

static void drop_doubles(struct backref_report *report)
{
	size_t kept = 0;
	size_t at;

	for (at = 0; at < report->errors_kept; at++)
		if (!kept || compare_errors(&report->errors[kept - 1], &report->errors[at]))
			report->errors[kept++] = report->errors[at];
	report->errors_kept = kept;
}

int findings_report(struct findings *lists, unsigned count, struct backref_report *report)
{
	uint64_t left_out = 0;
	size_t total = 0;
	unsigned list;

	for (list = 0; list < count; list++) {
		total += lists[list].count;
		left_out += lists[list].left_out;
	}
	report->errors = alloc_array(total + 1, sizeof(*report->errors));
	if (!report->errors)
		return -ENOMEM;
	for (list = 0; list < count; list++) {
		if (lists[list].count)
			memcpy(report->errors + report->errors_kept, lists[list].errors,
			       lists[list].count * sizeof(*report->errors));
		report->errors_kept += lists[list].count;
	}
	qsort(report->errors, report->errors_kept, sizeof(*report->errors), compare_errors);
	drop_doubles(report);
	report->error_count = report->errors_kept + left_out;
	if (report->errors_kept > BACKREF_ERRORS_MAX)
		report->errors_kept = BACKREF_ERRORS_MAX;
	return 0;
}

void findings_destroy(struct findings *lists, unsigned count)
{
	unsigned list;

	for (list = 0; list < count; list++)
		alloc_free(lists[list].errors);
}
