// SPDX-License-Identifier: MIT
/* refstorm list: what there is to be measured. */
#include <getopt.h>
#include <string.h>

#include "bench/sweep/plan.h"
#include "cli/cli.h"
#include "cli/image_options.h"
#include "cli/text.h"

enum {
	LIST_JSON = IMAGE_OPTION_FIRST
};

static const char *const engine_texts[PLAN_ENGINES] = {
	[PLAN_ENGINE_OFF] = "no accounts are kept",
	[PLAN_ENGINE_LEDGER] = "the set ledger: root sets of extents, counted as they change",
	[PLAN_ENGINE_EXTENT] =
		"old and new roots of each changed extent, by walking back references",
};

static const char *const record_texts[] = {
	[RS_RECORD_PERCPU] = "queues that no CPU shares, merged in batches",
	[RS_RECORD_LOCKED] = "one tree under one lock, merged at once",
	[RS_RECORD_HASHED] = "one hash table under one lock, sorted when it is run",
};

/* Each line of a text, indented. */
static void print_lines(const char *text)
{
	while (text && *text) {
		size_t length = strcspn(text, "\n");

		printf("    %.*s\n", (int)length, text);
		text += length;
		text += *text == '\n';
	}
}

static void print_workload(const struct rs_workload *workload)
{
	unsigned at;

	printf("  %s\n", workload->name);
	print_lines(workload->summary);
	printf("    operations:");
	for (at = 0; at < WORKLOAD_OPERATIONS_MAX && workload->operations[at]; at++)
		printf("%s %s", at ? "," : "", workload->operations[at]);
	printf("; %llu blocks%s\n", (unsigned long long)workload->blocks,
	       workload->needs_quotas ? "; needs quotas" : "");
	print_lines(workload->parameters);
}

static void print_all(void)
{
	const struct rs_workload *workload;
	unsigned at;

	puts("workloads:");
	for (at = 0; (workload = workload_at(at)); at++)
		print_workload(workload);
	puts("\nengines:");
	for (at = 0; plan_engine_name(at); at++)
		printf("  %-8s %s\n", plan_engine_name(at), engine_texts[at]);
	puts("\nrecord paths:");
	for (at = 0; plan_record_name(at); at++)
		printf("  %-8s %s\n", plan_record_name(at), record_texts[at]);
}

static json_t *json_workload(const struct rs_workload *workload)
{
	json_t *operations = json_array();
	unsigned at;

	for (at = 0; at < WORKLOAD_OPERATIONS_MAX && workload->operations[at]; at++)
		json_array_append_new(operations, json_string(workload->operations[at]));
	return json_pack("{s:s, s:s, s:s, s:o, s:I, s:b}", "name", workload->name, "summary",
			 workload->summary, "parameters",
			 workload->parameters ? workload->parameters : "", "operations", operations,
			 "blocks", (json_int_t)workload->blocks, "needs_quotas",
			 (int)workload->needs_quotas);
}

static json_t *json_choices(const char *(*name)(unsigned at), const char *const *texts)
{
	json_t *choices = json_array();
	unsigned at;

	for (at = 0; name(at); at++)
		json_array_append_new(choices, json_pack("{s:s, s:s}", "name", name(at), "summary",
							 texts[at]));
	return choices;
}

static bool write_json(FILE *to, const void *argument)
{
	json_t *workloads = json_array();
	const struct rs_workload *workload;
	unsigned at;

	(void)argument;
	for (at = 0; (workload = workload_at(at)); at++)
		json_array_append_new(workloads, json_workload(workload));
	return text_write_json(to,
			       json_pack("{s:s, s:o, s:o, s:o}", "schema", "refstorm.list.v1",
					 "workloads", workloads, "engines",
					 json_choices(plan_engine_name, engine_texts), "records",
					 json_choices(plan_record_name, record_texts)));
}

static int run_list(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", required_argument, NULL, LIST_JSON },
		{ NULL, 0, NULL, 0 },
	};
	const char *json = NULL;
	int option;

	optind = 1;
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (option < IMAGE_OPTION_FIRST) {
			image_option_refuse("list", argv[optind - 1], option);
			return CLI_EXIT_UNUSABLE;
		}
		json = optarg;
	}
	if (optind < argc) {
		cli_message("list: '%s' is one too many; see refstorm help list", argv[optind]);
		return CLI_EXIT_UNUSABLE;
	}
	if (!cli_output_is_stdout(json))
		print_all();
	return cli_output_write(json, write_json, NULL) ? CLI_EXIT_OK : CLI_EXIT_UNUSABLE;
}

const struct cli_command cli_list = {
	.name = "list",
	.summary = "the workloads, engines and record paths that there are",
	.help = "usage: refstorm list [--json F]\n"
		"\n"
		"Names the workloads that refstorm bench and refstorm profile run: what they do,\n"
		"their operations, and what threads, snapshots and blocks mean to each. Then the\n"
		"engines that keep accounts, and the record paths.\n"
		"\n"
		"  --json F   write the same to F; - is standard output, without the text\n"
		"\n"
		"Exit status: 0; 2 wrong arguments, or what cannot be written.\n",
	.run = run_list,
};
