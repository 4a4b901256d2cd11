// SPDX-License-Identifier: MIT
/* refstorm exec: runs a script on the live forest, or on a mounted file system. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/exec_state.h"
#include "cli/image_options.h"
#include "core/base/clock.h"
#include "core/base/error.h"
#include "refstorm/forest.h"
#include "refstorm/quota.h"
#include "stress/oracle/script_oracle.h"
#include "workloads/script_forest.h"
#include "workloads/script_kernel.h"
#include "workloads/script_run.h"

struct exec_arguments {
	const char **images; /* devices of one file system */
	size_t image_count;
	unsigned threads;    /* 0: as many as the script names */
	uint32_t node_bytes; /* 0: the default */
	enum rs_record_path record;
	bool record_given;
	enum rs_quota_engine engine; /* of `quota on` without a name */
	bool engine_given;
	const char *mount;
	const char *state; /* where what is there at the end is written; NULL: nowhere */
	const char *path;
};

static bool parse_record(const char *text, struct exec_arguments *arguments)
{
	static const char *const names[] = {
		[RS_RECORD_PERCPU] = "percpu",
		[RS_RECORD_LOCKED] = "locked",
		[RS_RECORD_HASHED] = "hashed",
	};
	unsigned path;

	for (path = 0; path < sizeof(names) / sizeof(names[0]); path++) {
		if (strcmp(text, names[path]))
			continue;
		arguments->record = (enum rs_record_path)path;
		arguments->record_given = true;
		return true;
	}
	cli_message("--record: '%s' is none of percpu, locked and hashed", text);
	return false;
}

static bool parse_engine(const char *text, struct exec_arguments *arguments)
{
	arguments->engine_given = true;
	if (!strcmp(text, "ledger")) {
		arguments->engine = RS_QUOTA_LEDGER;
		return true;
	}
	if (!strcmp(text, "extent")) {
		arguments->engine = RS_QUOTA_EXTENT;
		return true;
	}
	if (!strcmp(text, "oper") || !strcmp(text, "simple"))
		cli_message("--engine %s: not available yet", text);
	else
		cli_message("--engine: '%s' is none of ledger and extent", text);
	return false;
}

enum {
	EXEC_IMAGE = IMAGE_OPTION_FIRST,
	EXEC_THREADS,
	EXEC_NODE_BYTES,
	EXEC_ENGINE,
	EXEC_RECORD,
	EXEC_MOUNT,
	EXEC_STATE
};

/* Whether a forest can have such tree blocks it says itself. False after a message. */
static bool parse_node_bytes(const char *text, struct exec_arguments *arguments)
{
	unsigned long long bytes;

	if (!cli_number("--node-bytes", text, UINT32_MAX, &bytes))
		return false;
	if (!bytes) {
		cli_message("--node-bytes: 0 is too small");
		return false;
	}
	arguments->node_bytes = (uint32_t)bytes;
	return true;
}

/* All of them have a value. False after a message. */
static bool take_option(int option, struct exec_arguments *arguments)
{
	switch (option) {
	case EXEC_IMAGE:
		arguments->images[arguments->image_count++] = optarg;
		return true;
	case EXEC_THREADS:
		return image_option_threads(optarg, &arguments->threads);
	case EXEC_NODE_BYTES:
		return parse_node_bytes(optarg, arguments);
	case EXEC_ENGINE:
		return parse_engine(optarg, arguments);
	case EXEC_RECORD:
		return parse_record(optarg, arguments);
	case EXEC_STATE:
		arguments->state = optarg;
		return true;
	default:
		arguments->mount = optarg;
		return true;
	}
}

/* What does not go together. False after a message. */
static bool check_arguments(int left, const struct exec_arguments *arguments)
{
	if (left != 1) {
		cli_message("exec: %s; see refstorm help exec",
			    left ? "one script is run at a time" : "no script given");
		return false;
	}
	if (arguments->mount && arguments->image_count) {
		cli_message("exec: --image and --mount cannot be given together");
		return false;
	}
	if (arguments->node_bytes && (arguments->mount || arguments->image_count)) {
		cli_message("exec: --node-bytes is of an empty forest, and cannot be given with %s",
			    arguments->mount ? "--mount" : "--image");
		return false;
	}
	if (arguments->mount && arguments->record_given) {
		cli_message("exec: --record is of the forest, and cannot be given with --mount");
		return false;
	}
	if (arguments->mount && arguments->engine_given) {
		cli_message("exec: --engine is of the forest, and cannot be given with --mount");
		return false;
	}
	return true;
}

static bool parse(int argc, char **argv, struct exec_arguments *arguments)
{
	static const struct option options[] = {
		{ "image", required_argument, NULL, EXEC_IMAGE },
		{ "threads", required_argument, NULL, EXEC_THREADS },
		{ "node-bytes", required_argument, NULL, EXEC_NODE_BYTES },
		{ "engine", required_argument, NULL, EXEC_ENGINE },
		{ "record", required_argument, NULL, EXEC_RECORD },
		{ "mount", required_argument, NULL, EXEC_MOUNT },
		{ "state", required_argument, NULL, EXEC_STATE },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	optind = 1;
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (option < IMAGE_OPTION_FIRST)
			return image_option_refuse("exec", argv[optind - 1], option);
		if (!take_option(option, arguments))
			return false;
	}
	arguments->path = argv[optind];
	return check_arguments(argc - optind, arguments);
}

static int exit_code(enum script_run_outcome outcome)
{
	switch (outcome) {
	case SCRIPT_RUN_OK:
		return CLI_EXIT_OK;
	case SCRIPT_RUN_WRONG:
		return CLI_EXIT_WRONG;
	case SCRIPT_RUN_NOTHING:
		return CLI_EXIT_NOTHING;
	case SCRIPT_RUN_INTERRUPTED:
		return CLI_EXIT_INTERRUPTED;
	default:
		return CLI_EXIT_UNUSABLE;
	}
}

/* How many groups' numbers all checks together have compared. */
static uint64_t oracle_groups(const struct script_oracle *oracle)
{
	struct script_oracle_counts counts;

	script_oracle_counts_read(oracle, &counts);
	return counts.groups;
}

static void print_result(const struct script_run_result *result, uint64_t groups, double seconds)
{
	printf("%" PRIu64 " operations, %" PRIu64 " of them failed as they should, %" PRIu64
	       " checks, ",
	       result->operations, result->failures, result->checks);
	if (groups)
		printf("%" PRIu64 " groups compared, ", groups);
	printf("%.3f s\n", seconds);
}

/* With a state wanted, what the script has done is committed at its end. */
static int run(const struct exec_arguments *arguments, const struct script_run_options *options)
{
	const struct script_oracle *oracle = options->check_argument;
	struct rs_error error = RS_ERROR_INIT;
	struct script_run_result result;
	uint64_t begin = clock_now_ns();
	enum script_run_outcome outcome = script_run(options, &result, &error);
	double seconds = (double)(clock_now_ns() - begin) / 1e9;

	if (outcome == SCRIPT_RUN_OK && arguments->state &&
	    exec_state_settle(options->backend, &error))
		outcome = SCRIPT_RUN_WRONG;
	if (outcome != SCRIPT_RUN_OK)
		cli_error(&error);
	else if (!cli_output_is_stdout(arguments->state))
		print_result(&result, oracle ? oracle_groups(oracle) : 0, seconds);
	return exit_code(outcome);
}

static int run_on_mount(const struct exec_arguments *arguments, const struct script *script)
{
	struct script_run_options options = {
		.script = script,
		.threads = arguments->threads,
		.interrupted = cli_interrupted,
	};
	struct rs_error error = RS_ERROR_INIT;
	struct script_kernel *kernel;
	int code;

	if (script_kernel_create(script, arguments->mount, &kernel, &error)) {
		cli_error(&error);
		return CLI_EXIT_UNUSABLE;
	}
	options.backend = script_kernel_backend(kernel);
	code = run(arguments, &options);
	script_kernel_destroy(kernel);
	if (code == CLI_EXIT_OK && arguments->state)
		code = exec_state_mounted(arguments->mount, arguments->state);
	return code;
}

static int open_forest(const struct exec_arguments *arguments,
		       const struct rs_forest_options *options, struct rs_forest **forest,
		       struct rs_error *error)
{
	struct rs_image *image;
	int ret;

	if (!arguments->image_count)
		return rs_forest_create(options, forest, error);
	ret = rs_image_open(arguments->images, arguments->image_count, &image, error);
	if (ret)
		return ret;
	image_option_warn(image, arguments->images[0]);
	ret = rs_forest_open(image, options, forest, error);
	rs_image_close(image);
	return ret;
}

static int run_script(const struct exec_arguments *arguments, const struct script *script,
		      struct rs_forest *forest, struct script_oracle *oracle)
{
	struct script_run_options options = {
		.script = script,
		.threads = arguments->threads,
		.interrupted = cli_interrupted,
		.check = script_oracle_check,
		.check_argument = oracle,
	};
	struct rs_error error = RS_ERROR_INIT;
	struct script_forest *back_end;
	int code;

	if (script_oracle_begin(oracle, forest, arguments->image_count, &error) ||
	    script_forest_create(script, forest, &back_end, &error)) {
		cli_error(&error);
		return CLI_EXIT_UNUSABLE;
	}
	script_forest_engine_set(back_end, arguments->engine);
	options.backend = script_forest_backend(back_end);
	code = run(arguments, &options);
	script_forest_destroy(back_end);
	if (code == CLI_EXIT_OK && arguments->state)
		code = exec_state_forest(forest, arguments->state);
	return code;
}

/* Watching the forest for them costs more than the operations. */
static bool has_checks(const struct script *script)
{
	size_t at;

	for (at = 0; at < script->operation_count; at++)
		if (script->operations[at].kind == SCRIPT_CHECK)
			return true;
	return false;
}

static void print_finding(void *argument, const char *text)
{
	(void)argument;
	cli_message("%s", text);
}

static int run_on_forest(const struct exec_arguments *arguments, const struct script *script)
{
	struct rs_forest_options options = {
		.node_bytes = arguments->node_bytes,
		.record = arguments->record,
	};
	const struct script_oracle_options watch = { .finding = print_finding };
	struct rs_error error = RS_ERROR_INIT;
	struct script_oracle *oracle;
	struct rs_forest *forest;
	int code = CLI_EXIT_UNUSABLE;

	if (script_oracle_create(has_checks(script) ? &watch : NULL, &oracle, &error)) {
		cli_error(&error);
		return code;
	}
	options.observer = script_oracle_observer(oracle);
	/* What an image has is made known to the observer before anything of it is taken apart. */
	options.no_drop_thread = options.observer && arguments->image_count;
	if (open_forest(arguments, &options, &forest, &error)) {
		cli_error(&error);
	} else {
		code = run_script(arguments, script, forest, oracle);
		rs_forest_destroy(forest);
	}
	script_oracle_destroy(oracle);
	return code;
}

static int read_and_run(const struct exec_arguments *arguments)
{
	struct rs_error error = RS_ERROR_INIT;
	struct script *script;
	int code;

	if (script_read(arguments->path, &script, &error)) {
		cli_error(&error);
		return CLI_EXIT_UNUSABLE;
	}
	cli_catch_interrupt();
	code = arguments->mount ? run_on_mount(arguments, script) :
				  run_on_forest(arguments, script);
	script_free(script);
	return code;
}

static int run_exec(int argc, char **argv)
{
	struct exec_arguments arguments = { 0 };
	int code = CLI_EXIT_UNUSABLE;

	/* No more images than arguments. */
	arguments.images = calloc((size_t)argc, sizeof(*arguments.images));
	if (!arguments.images)
		cli_message("exec: no memory");
	else if (parse(argc, argv, &arguments))
		code = read_and_run(&arguments);
	free(arguments.images);
	return code;
}

const struct cli_command cli_exec = {
	.name = "exec",
	.summary = "run a script of operations on subvolumes and files",
	.help = "usage: refstorm exec [OPTION]... SCRIPT\n"
		"\n"
		"Runs the operations in the file SCRIPT, or - for standard input, one a line, on a\n"
		"forest of subvolumes in memory, and ends with the first that does not do what it\n"
		"should. The lines are described in refstorm-exec(1).\n"
		"\n"
		"  --image IMG   begin with the btrfs file system in IMG instead of an empty one;\n"
		"                given once for each of its devices, which are not written to\n"
		"  --threads N   run lines @T on thread T modulo N, instead of one thread each\n"
		"  --node-bytes N\n"
		"                size of the tree blocks of an empty forest, 4k to 64k: 16k\n"
		"  --record R    how reference changes are recorded: percpu (the default), locked\n"
		"                or hashed\n"
		"  --engine E    which engine keeps the accounts after 'quota on' without a name:\n"
		"                ledger (the default) or extent\n"
		"  --mount DIR   run on the btrfs mounted at DIR instead; the file f of subvolume v\n"
		"                is DIR/v/f\n"
		"  --state F     when all is done and committed, write to F the data that each\n"
		"                subvolume references and has alone, and how many data extents of\n"
		"                each size there are, as JSON; - is standard output\n"
		"\n"
		"Exit status: 0 all lines did what they should; 1 one did not; 2 wrong arguments, or\n"
		"a script that cannot be used; 6 a script without operations; 130 interrupted.\n",
	.run = run_exec,
};
