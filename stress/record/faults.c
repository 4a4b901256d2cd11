/* SPDX-License-Identifier: MIT */
#include "stress/record/faults.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/base/order.h"

static order_u64 faults; /* relaxed: a sum */

void faults_report(const char *format, ...)
{
	va_list arguments;

	if (order_fetch_add_relaxed(&faults, 1) >= FAULTS_SHOWN)
		return;
	va_start(arguments, format);
	flockfile(stderr);
	fputs("fault: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	funlockfile(stderr);
	va_end(arguments);
}

uint64_t faults_count(void)
{
	return order_load_relaxed(&faults);
}
