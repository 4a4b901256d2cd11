/* SPDX-License-Identifier: MIT */
/* Filling in a struct rs_error. Callers: any thread, each with its own struct. */
#ifndef REFSTORM_BASE_ERROR_H
#define REFSTORM_BASE_ERROR_H

#include "refstorm/error.h"

/*
 * Records `code` (a negative errno) and the formatted text, and returns `code`,
 * so that a caller can write `return error_set(err, -EINVAL, ...)`.
 * `error` may be NULL. Text that is too long is cut, never overrun.
 * An error that is already set is replaced.
 */
int error_set(struct rs_error *error, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same for something found at a logical byte address. */
int error_set_at(struct rs_error *error, int code, uint64_t address, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/*
 * Puts "place: " in front of what `where` says already: called on the way up
 * by those who know the larger place ("tree 257", then "fs.img").
 */
void error_add_place(struct rs_error *error, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* -ENOMEM with the standard text; `what_for` names what could not be allocated. */
int error_no_memory(struct rs_error *error, const char *what_for);

#endif /* REFSTORM_BASE_ERROR_H */
