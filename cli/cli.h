/* SPDX-License-Identifier: MIT */
/* What the subcommands of the program share. One thread. */
#ifndef REFSTORM_CLI_CLI_H
#define REFSTORM_CLI_CLI_H

#include <stdbool.h>
#include <stdio.h>

#include "refstorm/error.h"

enum cli_exit {
	CLI_EXIT_OK = 0,
	CLI_EXIT_WRONG = 1,    /* something that was checked is wrong */
	CLI_EXIT_UNUSABLE = 2, /* arguments or input */
	CLI_EXIT_HANG = 3,
	CLI_EXIT_CRASH = 4,
	CLI_EXIT_LEAK = 5,
	CLI_EXIT_NOTHING = 6, /* a run that checked or did nothing */
	CLI_EXIT_INTERRUPTED = 130,
};

struct cli_command {
	const char *name;
	const char *summary; /* one line */
	const char *help;    /* all that `refstorm help NAME` prints */
	int (*run)(int argc, char **argv);
};

extern const struct cli_command cli_bench;
extern const struct cli_command cli_compare;
extern const struct cli_command cli_exec;
extern const struct cli_command cli_list;
extern const struct cli_command cli_mutants;
extern const struct cli_command cli_profile;
extern const struct cli_command cli_reclaim;
extern const struct cli_command cli_report;
extern const struct cli_command cli_script;
extern const struct cli_command cli_stress;
extern const struct cli_command cli_verify;

/* "refstorm: " and the text on standard error. */
void cli_message(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same for an error: where it is, what it is, and the address if there is one. */
void cli_error(const struct rs_error *error);

/*
 * Reads a whole number from `text`, digits with an optional k, m or g (1024), up
 * to `most`. False, after a message that names `option`, if it is none.
 */
bool cli_number(const char *option, const char *text, unsigned long long most,
		unsigned long long *number);

/*
 * A file for a result: "-" is standard output; any other is written beside its
 * place and moved there by cli_output_close, so that it is whole or not there.
 */
struct cli_output {
	FILE *file;
	const char *path;
	char *temporary; /* NULL if written in place */
};

/* False after a message. */
bool cli_output_open(struct cli_output *output, const char *path);

/* Keeps what was written, or with `keep` false leaves no trace. False after a message. */
bool cli_output_close(struct cli_output *output, bool keep);

/* Opens, writes with `write` and closes. True if `path` is NULL; false after a message. */
bool cli_output_write(const char *path, bool (*write)(FILE *to, const void *argument),
		      const void *argument);

/* Whether the result named by `path`, which may be NULL, has standard output to itself. */
bool cli_output_is_stdout(const char *path);

/* From now on the first SIGINT or SIGTERM is noted; a second one ends the program. */
void cli_catch_interrupt(void);
bool cli_interrupted(void);

#endif /* REFSTORM_CLI_CLI_H */
