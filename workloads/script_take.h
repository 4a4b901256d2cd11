/* SPDX-License-Identifier: MIT */
/* Taking the arguments of an operation from the words of its line. One thread. */
#ifndef REFSTORM_WORKLOADS_SCRIPT_TAKE_H
#define REFSTORM_WORKLOADS_SCRIPT_TAKE_H

#include "workloads/script.h"
#include "workloads/script_words.h"

#define SCRIPT_QUOTE_MAX 60 /* of a word in a message */

struct script_line_word {
	const char *at;
	size_t length;
};

struct script_parser {
	struct script *script;
	struct rs_error *error;
	struct script_operation *operation; /* of this line */
	struct script_line_word *words;     /* of this line */
	size_t word_count;
	size_t word_capacity;
	size_t next; /* word to be taken */
	uint32_t line;
	const char *usage;                  /* of the operation, once it is known */
	char name[SCRIPT_WORDS_NAME_BYTES]; /* of it */
};

/* Called with the arguments of a precision and a text. */
#define SCRIPT_QUOTE(word)                                                                         \
	(int)((word)->length < SCRIPT_QUOTE_MAX ? (word)->length : SCRIPT_QUOTE_MAX), (word)->at

/* All that the operation, whose kind is known, is written with. 0, -EINVAL, -ENOMEM after a message. */
int script_take_arguments(struct script_parser *parser) __attribute__((warn_unused_result));

/* Takes the next word if it is `text`. */
bool script_take_literal(struct script_parser *parser, const char *text);

/* Digits up to `most` in front of a word; how many bytes they take, 0 if that is no number. */
size_t script_take_digits(const char *at, size_t length, uint64_t most, uint64_t *number);

/* -ENOMEM after a message. */
int script_take_no_memory(struct script_parser *parser);

#endif /* REFSTORM_WORKLOADS_SCRIPT_TAKE_H */
