// SPDX-License-Identifier: MIT
/* The program refstorm: finds the subcommand and hands over to it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/base/plant.h"
#include "refstorm/version.h"

static const struct cli_command *const commands[] = {
	&cli_bench,   &cli_compare, &cli_exec,   &cli_list,   &cli_mutants, &cli_profile,
	&cli_reclaim, &cli_report,  &cli_script, &cli_stress, &cli_verify,
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void print_usage(FILE *to)
{
	size_t at;

	fputs("usage: refstorm COMMAND [OPTION]... [ARGUMENT]...\n"
	      "       refstorm help COMMAND\n"
	      "       refstorm --version\n"
	      "\n"
	      "Exact space accounts for copy-on-write extents with snapshots.\n"
	      "\n"
	      "commands:\n",
	      to);
	for (at = 0; at < COMMAND_COUNT; at++)
		fprintf(to, "  %-10s %s\n", commands[at]->name, commands[at]->summary);
}

static const struct cli_command *find_command(const char *name)
{
	size_t at;

	for (at = 0; at < COMMAND_COUNT; at++)
		if (!strcmp(commands[at]->name, name))
			return commands[at];
	cli_message("there is no command '%s'; see refstorm --help", name);
	return NULL;
}

static int help(const char *name)
{
	const struct cli_command *command;

	if (!name) {
		print_usage(stdout);
		return CLI_EXIT_OK;
	}
	command = find_command(name);
	if (!command)
		return CLI_EXIT_UNUSABLE;
	fputs(command->help, stdout);
	return CLI_EXIT_OK;
}

static int dispatch(int argc, char **argv)
{
	const struct cli_command *command;
	int at;

	if (argc < 2) {
		print_usage(stderr);
		return CLI_EXIT_UNUSABLE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return help(NULL);
	if (!strcmp(argv[1], "help"))
		return help(argc > 2 ? argv[2] : NULL);
	if (!strcmp(argv[1], "--version")) {
		puts("refstorm " RS_VERSION);
		return CLI_EXIT_OK;
	}
	command = find_command(argv[1]);
	if (!command)
		return CLI_EXIT_UNUSABLE;
	for (at = 2; at < argc && strcmp(argv[at], "--"); at++)
		if (!strcmp(argv[at], "--help") || !strcmp(argv[at], "-h"))
			return help(argv[1]);
	return command->run(argc - 1, argv + 1);
}

/*
 * Of the three standard streams those that are closed get a file that refuses
 * them: else the next file opened takes the number, and gets what is printed.
 */
static bool hold_streams(void)
{
	int fd;

	for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 &&
		    open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			return false;
	return true;
}

int main(int argc, char **argv)
{
	struct rs_error error = RS_ERROR_INIT;
	int code;

	if (!hold_streams())
		return CLI_EXIT_UNUSABLE;
	/* A plant or a window that this build has not would make the run look sound. */
	if (plant_environment_check(&error)) {
		cli_error(&error);
		return CLI_EXIT_UNUSABLE;
	}
	code = dispatch(argc, argv);

	if (fflush(stdout) || ferror(stdout)) {
		cli_message("standard output: cannot write: %s", strerror(errno));
		return code ? code : CLI_EXIT_UNUSABLE;
	}
	return code;
}
