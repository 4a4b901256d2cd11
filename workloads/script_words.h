/* SPDX-License-Identifier: MIT */
/* The words of the script language: its operations, and the names of errors. Any thread. */
#ifndef REFSTORM_WORKLOADS_SCRIPT_WORDS_H
#define REFSTORM_WORKLOADS_SCRIPT_WORDS_H

#include <stddef.h>

#include "workloads/script.h"

/*
 * How an operation is written. A letter of `pattern` stands for what is taken from the line:
 *   V F O L S  subvolume, file, offset, length, size     v f o  the same of the target
 *   n N        name of a new subvolume; as the target    G H    group; a group by its number only
 *   r          -r or nothing                             g      "group" and groups, or nothing
 *   e          engine or nothing                         k      rfer or excl, and a limit
 *   x          what is expected                          R      subvolumes and bytes
 *   ?          what follows may be missing
 */
struct script_word {
	const char *word;
	const char *second; /* NULL: one word */
	const char *pattern;
	const char *usage;
};

extern const struct script_word script_words[SCRIPT_KINDS];

/* "rescan start" into `text` of at least 32 bytes, which is returned. */
#define SCRIPT_WORDS_NAME_BYTES 32
const char *script_words_name(char *text, enum script_kind kind);

/* The errno with this name (ENOSPC); 0 if there is none. */
int script_words_errno(const char *name, size_t length);

/* The name of an errno, or its number, into `text` of SCRIPT_WORDS_NAME_BYTES, which is returned. */
const char *script_words_errno_name(char *text, int number);

#endif /* REFSTORM_WORKLOADS_SCRIPT_WORDS_H */
