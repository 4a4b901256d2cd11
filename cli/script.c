// SPDX-License-Identifier: MIT
/* refstorm script: writes a random script for refstorm exec. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/image_options.h"
#include "workloads/script_random.h"

/* The options. False after a message. */
static bool parse_options(int argc, char **argv, struct script_random_options *script)
{
	enum {
		SEED = IMAGE_OPTION_FIRST,
		OPS,
		PROFILE,
		THREADS,
		NO_DEFRAG,
		CHECK
	};
	static const struct option options[] = {
		{ "seed", required_argument, NULL, SEED },
		{ "ops", required_argument, NULL, OPS },
		{ "profile", required_argument, NULL, PROFILE },
		{ "threads", required_argument, NULL, THREADS },
		{ "no-defrag", no_argument, NULL, NO_DEFRAG },
		{ "check", no_argument, NULL, CHECK },
		{ NULL, 0, NULL, 0 },
	};
	unsigned long long number;
	int option;

	optind = 1;
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		switch (option) {
		case SEED:
			if (!cli_number("--seed", optarg, UINT64_MAX, &number))
				return false;
			script->seed = number;
			break;
		case OPS:
			if (!cli_number("--ops", optarg, UINT32_MAX, &number))
				return false;
			script->operations = number;
			break;
		case PROFILE:
			script->profile = optarg;
			break;
		case THREADS:
			if (!cli_number("--threads", optarg, SCRIPT_RANDOM_THREADS_MAX, &number))
				return false;
			script->threads = (unsigned)number;
			break;
		case NO_DEFRAG:
			script->no_defrag = true;
			break;
		case CHECK:
			script->checks = true;
			break;
		default:
			return image_option_refuse("script", argv[optind - 1], option);
		}
	}
	if (optind < argc) {
		cli_message("script: '%s' is one too many; see refstorm help script", argv[optind]);
		return false;
	}
	return true;
}

static void list_profiles(void)
{
	const char *about;
	const char *name;
	unsigned at;

	for (at = 0; (name = script_random_profile(at, &about)); at++)
		cli_message("  %-10s %s", name, about);
}

static int run_script(int argc, char **argv)
{
	struct script_random_options options = { .profile = "mixed" };
	struct rs_error error = RS_ERROR_INIT;

	if (!parse_options(argc, argv, &options))
		return CLI_EXIT_UNUSABLE;
	if (!options.operations) {
		cli_message("script: --ops is wanted, at least 1; see refstorm help script");
		return CLI_EXIT_UNUSABLE;
	}
	if (script_random_write(&options, stdout, &error)) {
		cli_error(&error);
		if (error.code == -EINVAL)
			list_profiles();
		return CLI_EXIT_UNUSABLE;
	}
	return CLI_EXIT_OK;
}

const struct cli_command cli_script = {
	.name = "script",
	.summary = "write a random script for exec",
	.help = "usage: refstorm script [--seed N] --ops N [OPTION]...\n"
		"\n"
		"Writes a random script for refstorm exec to standard output. The same options give\n"
		"the same script. Its lines are valid by construction, on the forest and on a mounted\n"
		"file system alike; those that have to fail say so.\n"
		"\n"
		"  --seed N     of the random numbers (0)\n"
		"  --ops N      lines with operations\n"
		"  --profile P  mixed (the default), overwrite, snapshots, clones, files or quota\n"
		"  --threads N  put lines on N threads, 64 at most, that never use the same file\n"
		"               between two lines that wait for all of them\n"
		"  --no-defrag  leave out defrag\n"
		"  --check      with lines 'check', which a mounted file system has not\n"
		"\n"
		"Exit status: 0 written; 2 wrong arguments, or standard output cannot be written.\n",
	.run = run_script,
};
