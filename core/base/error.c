/* SPDX-License-Identifier: MIT */
#include "core/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* By way of a second buffer, since the arguments may be strings of the error that is replaced. */
__attribute__((format(printf, 4, 0))) static void error_fill(struct rs_error *error, int code,
							     uint64_t address, const char *format,
							     va_list arguments)
{
	char what[RS_ERROR_WHAT_MAX];

	if (vsnprintf(what, sizeof(what), format, arguments) < 0)
		what[0] = '\0';
	error->code = code;
	error->address = address;
	error->where[0] = '\0';
	memcpy(error->what, what, strlen(what) + 1);
}

int error_set(struct rs_error *error, int code, const char *format, ...)
{
	va_list arguments;

	if (!error)
		return code;
	va_start(arguments, format);
	error_fill(error, code, RS_ERROR_NO_ADDRESS, format, arguments);
	va_end(arguments);
	return code;
}

int error_set_at(struct rs_error *error, int code, uint64_t address, const char *format, ...)
{
	va_list arguments;

	if (!error)
		return code;
	va_start(arguments, format);
	error_fill(error, code, address, format, arguments);
	va_end(arguments);
	return code;
}

void error_add_place(struct rs_error *error, const char *format, ...)
{
	char where[RS_ERROR_WHERE_MAX];
	va_list arguments;
	size_t used;
	int length;

	if (!error)
		return;
	va_start(arguments, format);
	length = vsnprintf(where, sizeof(where), format, arguments);
	va_end(arguments);
	if (length < 0)
		return;
	used = strlen(where);
	if (error->where[0]) {
		/* Cut at the end: the larger place matters more than the end of the smaller. */
		size_t left = sizeof(where) - used - 1;
		size_t old = strnlen(error->where, sizeof(error->where) - 1);
		size_t colon = left < 2 ? left : 2;

		memcpy(where + used, ": ", colon);
		used += colon;
		left -= colon;
		if (old > left)
			old = left;
		memcpy(where + used, error->where, old);
		used += old;
		where[used] = '\0';
	}
	memcpy(error->where, where, used + 1);
}

int error_no_memory(struct rs_error *error, const char *what_for)
{
	return error_set(error, -ENOMEM, "no memory for %s", what_for);
}
