// SPDX-License-Identifier: MIT
#include "cli/stress_output.h"

#include <inttypes.h>

#include "cli/text.h"
#include "workloads/script_words.h"

#define DIGEST_BYTES 17

/* What follows the first of a line of names and numbers. */
static void print_number(FILE *to, bool *begun, const char *name, uint64_t number)
{
	if (!number)
		return;
	fprintf(to, "%s%s %" PRIu64, *begun ? ", " : "", name, number);
	*begun = true;
}

static void print_end(FILE *to, bool begun)
{
	fputs(begun ? "\n" : "none\n", to);
}

static void print_operations(FILE *to, const struct campaign_result *result)
{
	char name[SCRIPT_WORDS_NAME_BYTES];
	bool begun = false;
	unsigned at;

	fputs("operations  ", to);
	for (at = 0; at < SCRIPT_KINDS; at++)
		print_number(to, &begun, script_words_name(name, (enum script_kind)at),
			     result->operations[at]);
	print_end(to, begun);
	begun = false;
	fputs("failed      ", to);
	for (at = 0; at < CAMPAIGN_ERRNO_MAX; at++)
		print_number(to, &begun, script_words_errno_name(name, (int)at),
			     result->failed[at]);
	print_end(to, begun);
}

static void print_rounds(FILE *to, const struct campaign_result *result)
{
	bool begun = false;
	unsigned at;

	fprintf(to, "rounds      %" PRIu64 ": ", result->rounds);
	for (at = 0; at < CAMPAIGN_ENGINES; at++)
		print_number(to, &begun, campaign_engine_name((enum campaign_engine)at),
			     result->by_engine[at]);
	fputs(begun ? "; " : "", to);
	begun = false;
	for (at = 0; at < CAMPAIGN_RECORDS; at++)
		print_number(to, &begun, campaign_record_name(at), result->by_record[at]);
	fputs(begun ? "; " : "", to);
	begun = false;
	for (at = 0; campaign_profile_name(at); at++)
		print_number(to, &begun, campaign_profile_name(at), result->by_profile[at]);
	print_end(to, begun);
}

static void print_checks(FILE *to, const struct campaign_result *result)
{
	bool begun = false;

	fputs("checks      ", to);
	print_number(to, &begun, "recounts", result->recounts);
	print_number(to, &begun, "groups", result->groups);
	print_number(to, &begun, "all references", result->references);
	print_number(to, &begun, "changes of references", result->actions);
	print_end(to, begun);
	begun = false;
	fputs("faults      ", to);
	print_number(to, &begun, "allocations refused", result->refused);
	print_number(to, &begun, "rounds aborted for that", result->aborted);
	print_number(to, &begun, "stalls", result->stalls);
	print_end(to, begun);
}

void stress_output_print(FILE *to, const struct stress_output *output)
{
	const struct campaign_result *result = output->result;

	print_rounds(to, result);
	print_operations(to, result);
	print_checks(to, result);
	fprintf(to, "seed        %" PRIu64 "\n", output->options->seed);
	fprintf(to, "digests     scripts %016" PRIx64 ", states %016" PRIx64 "\n",
		result->scripts_digest, result->state_digest);
	fprintf(to, "%s after %.1f s\n", campaign_verdict_name(result->verdict), result->seconds);
}

static json_t *json_operations(const struct campaign_result *result)
{
	json_t *all = json_object();
	char name[SCRIPT_WORDS_NAME_BYTES];
	unsigned at;

	for (at = 0; at < SCRIPT_KINDS; at++)
		if (result->operations[at])
			json_object_set_new(all, script_words_name(name, (enum script_kind)at),
					    text_json_size(result->operations[at]));
	return all;
}

static json_t *json_failed(const struct campaign_result *result)
{
	json_t *all = json_object();
	char name[SCRIPT_WORDS_NAME_BYTES];
	unsigned at;

	for (at = 0; at < CAMPAIGN_ERRNO_MAX; at++)
		if (result->failed[at])
			json_object_set_new(all, script_words_errno_name(name, (int)at),
					    text_json_size(result->failed[at]));
	return all;
}

static json_t *json_faults(const struct campaign_result *result)
{
	json_t *windows = json_object();
	struct stalls_window window;
	unsigned at;

	for (at = 0; stalls_window(at, &window); at++)
		if (result->window_stalls[at])
			json_object_set_new(windows, window.name,
					    text_json_size(result->window_stalls[at]));
	return json_pack("{s:o, s:o, s:o, s:o}", "allocations", text_json_size(result->refused),
			 "aborted", text_json_size(result->aborted), "stalls",
			 text_json_size(result->stalls), "windows", windows);
}

static json_t *json_profiles(const struct campaign_result *result)
{
	json_t *all = json_object();
	unsigned at;

	for (at = 0; campaign_profile_name(at); at++)
		if (result->by_profile[at])
			json_object_set_new(all, campaign_profile_name(at),
					    text_json_size(result->by_profile[at]));
	return all;
}

static json_t *json_engines(const struct campaign_options *options)
{
	json_t *all = json_array();
	unsigned at;

	for (at = 0; at < CAMPAIGN_ENGINES; at++)
		if (options->engines[at])
			json_array_append_new(all, json_string(campaign_engine_name(
							   (enum campaign_engine)at)));
	return all;
}

static json_t *json_by_engine(const struct campaign_result *result)
{
	json_t *all = json_object();
	unsigned at;

	for (at = 0; at < CAMPAIGN_ENGINES; at++)
		json_object_set_new(all, campaign_engine_name((enum campaign_engine)at),
				    text_json_size(result->by_engine[at]));
	return all;
}

static json_t *json_command(const struct stress_output *output)
{
	json_t *all = json_array();
	int at;

	for (at = 0; at < output->argc; at++)
		json_array_append_new(all, text_json_path(output->argv[at]));
	return all;
}

static json_t *json_text(const char *text)
{
	return text[0] ? text_json_path(text) : json_null();
}

static json_t *json_failure(const struct stress_output *output)
{
	const struct campaign_result *result = output->result;
	json_t *round = json_null();

	if (!result->why[0])
		return json_null();
	if (result->failed_round != UINT64_MAX)
		round = text_json_size(result->failed_round);
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "round", round, "seed",
			 text_json_size(output->options->seed), "why", json_text(result->why),
			 "artifacts", json_text(result->artifacts), "replay",
			 json_text(result->replay));
}

static json_t *json_checks(const struct campaign_result *result)
{
	return json_pack("{s:o, s:o, s:o, s:o}", "recount", text_json_size(result->recounts),
			 "groups", text_json_size(result->groups), "references",
			 text_json_size(result->references), "refverify_actions",
			 text_json_size(result->actions));
}

bool stress_output_json(FILE *to, const void *argument)
{
	const struct stress_output *output = argument;
	const struct campaign_result *result = output->result;
	char scripts[DIGEST_BYTES];
	char states[DIGEST_BYTES];

	snprintf(scripts, sizeof(scripts), "%016" PRIx64, result->scripts_digest);
	snprintf(states, sizeof(states), "%016" PRIx64, result->state_digest);
	return text_write_json(
		to,
		json_pack("{s:s, s:o, s:O?, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:s, "
			  "s:f, s:s, s:o}",
			  "schema", "refstorm.stress.v1", "seed",
			  text_json_size(output->options->seed), "run", output->run, "command",
			  json_command(output), "engines", json_engines(output->options),
			  "rounds_by_engine", json_by_engine(result), "profiles",
			  json_profiles(result), "rounds", text_json_size(result->rounds),
			  "operations", json_operations(result), "operations_failed",
			  json_failed(result), "checks", json_checks(result), "faults",
			  json_faults(result), "scripts_digest", scripts, "state_digest", states,
			  "seconds", result->seconds, "verdict",
			  campaign_verdict_name(result->verdict), "failure", json_failure(output)));
}
