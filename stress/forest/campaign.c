/* SPDX-License-Identifier: MIT */
#include "stress/forest/campaign.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/plant.h"
#include "stress/forest/artifacts.h"
#include "stress/forest/trial.h"
#include "workloads/script_words.h"

#define LIVE_NS UINT64_C(1000000000)
#define DIGEST_BEGIN UINT64_C(0xcbf29ce484222325)
/* Of so many expected operations of a kind one in FLOOR_SHARE has to be done: often luck has it not. */
#define FLOOR_EXPECTED 500.0
#define FLOOR_SHARE 50.0
#define QUOTA_ROUNDS 4 /* in one of them quotas may be off whenever it checks, not in so many */

struct campaign {
	const struct campaign_options *options;
	struct campaign_result *result;
	struct board *board;
	const struct plan *plan;
	const struct trial *trial;
	uint64_t begin_ns;
	uint64_t shown_ns;
	uint64_t quota_rounds; /* that had all their memory */
};

double campaign_hang_seconds(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return 180;
#else
	return 60;
#endif
}

const char *campaign_engine_name(enum campaign_engine engine)
{
	static const char *const names[] = { "off", "ledger", "extent" };

	return names[engine];
}

const char *campaign_record_name(unsigned record)
{
	static const char *const names[] = { "percpu", "locked", "hashed" };

	return names[record];
}

const char *campaign_verdict_name(enum campaign_verdict verdict)
{
	switch (verdict) {
	case CAMPAIGN_PASS:
		return "pass";
	case CAMPAIGN_ORACLE:
		return "oracle";
	case CAMPAIGN_UNUSABLE:
		return "unusable";
	case CAMPAIGN_HANG:
		return "hang";
	case CAMPAIGN_CRASH:
		return "crash";
	case CAMPAIGN_LEAK:
		return "leak";
	case CAMPAIGN_VACUOUS:
		return "vacuous";
	default:
		return "interrupted";
	}
}

static double seconds_since(uint64_t begin_ns)
{
	return (double)(clock_now_ns() - begin_ns) / 1e9;
}

/* In MiB, of the round's process. */
static uint64_t memory_of(pid_t process)
{
	uint64_t pages = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)process);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fscanf(file, "%*u %" SCNu64, &pages) != 1)
		pages = 0;
	fclose(file);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE) >> 20;
}

static uint64_t sum_of(const uint64_t *numbers, unsigned count)
{
	uint64_t sum = 0;

	while (count--)
		sum += numbers[count];
	return sum;
}

/* Of this round what the board has of it: checks and faults are entered there behind each check. */
static void show(void *argument)
{
	struct campaign *campaign = argument;
	const struct campaign_result *result = campaign->result;
	const struct board *board = campaign->board;
	uint64_t now = clock_now_ns();

	if (!campaign->options->live || now - campaign->shown_ns < LIVE_NS)
		return;
	campaign->shown_ns = now;
	/* Relaxed: of some moment. */
	fprintf(stderr,
		"\r\033[K%.0f s, round %" PRIu64 " (%s, %s, %s): %" PRIu64 " operations, %" PRIu64
		" checks, %" PRIu64 " faults, %" PRIu64 " MiB",
		seconds_since(campaign->begin_ns), campaign->plan->number,
		campaign_profile_name(campaign->plan->profile),
		campaign_engine_name(campaign->plan->engine),
		campaign_record_name(campaign->plan->record),
		sum_of(result->operations, SCRIPT_KINDS) + board_operations(board),
		result->recounts + order_load_relaxed(&board->recounts),
		result->refused + result->stalls, memory_of(campaign->trial->process));
	fflush(stderr);
}

static uint64_t digest_bytes(uint64_t digest, const char *bytes, size_t count)
{
	/* FNV-1a. */
	while (count--)
		digest = (digest ^ (unsigned char)*bytes++) * UINT64_C(0x100000001b3);
	return digest;
}

static void count_round(struct campaign *campaign, const struct trial *trial)
{
	struct campaign_result *result = campaign->result;
	const struct plan *plan = trial->plan;
	/* Relaxed: the process has ended. */
	uint64_t state = order_load_relaxed(&trial->board->state_digest);
	size_t bytes;
	char *text = trial_read(trial->script_fd, &bytes);

	result->rounds++;
	result->by_engine[plan->engine]++;
	result->by_record[plan->record]++;
	result->by_profile[plan->profile]++;
	board_add_up(trial->board, result);
	if (text)
		result->scripts_digest = digest_bytes(result->scripts_digest, text, bytes);
	alloc_free(text);
	if (trial->verdict != CAMPAIGN_PASS || plan->refusals != REFUSALS_NONE)
		return;
	result->state_digest =
		digest_bytes(result->state_digest, (const char *)&state, sizeof(state));
	plan_expect(plan, result->expected);
	campaign->quota_rounds += plan->engine != CAMPAIGN_OFF;
}

/* What failed is kept; that this cannot be done changes nothing about what it is. */
static void keep(struct campaign *campaign, const struct trial *trial)
{
	struct campaign_result *result = campaign->result;
	struct rs_error error = RS_ERROR_INIT;
	size_t length;

	result->failed_round = trial->plan->number;
	snprintf(result->why, sizeof(result->why), "%s", trial->why);
	if (!artifacts_write(trial, result, &error))
		return;
	length = strlen(result->why);
	snprintf(result->why + length, sizeof(result->why) - length, "; %s: %s", error.where,
		 error.what);
}

/* Whether to go on. */
static bool run_round(struct campaign *campaign, uint64_t number, struct rs_error *error)
{
	struct campaign_result *result = campaign->result;
	struct trial trial;
	struct plan plan;

	plan_draw(&plan, campaign->options, number);
	if (trial_begin(&trial, &plan, campaign->options, campaign->board, error))
		return false;
	campaign->plan = &plan;
	campaign->trial = &trial;
	trial_wait(&trial, show, campaign);
	result->verdict = trial.verdict;
	if (trial.verdict == CAMPAIGN_UNUSABLE)
		error_set(error, -EINVAL, "%s", trial.why);
	else
		count_round(campaign, &trial);
	if (trial.verdict != CAMPAIGN_PASS && trial.verdict != CAMPAIGN_UNUSABLE &&
	    trial.verdict != CAMPAIGN_INTERRUPTED)
		keep(campaign, &trial);
	trial_end(&trial);
	return trial.verdict == CAMPAIGN_PASS;
}

static __attribute__((format(printf, 2, 3))) void miss(struct campaign_result *result,
						       const char *format, ...)
{
	size_t length = strlen(result->why);
	va_list arguments;

	if (length)
		length +=
			(size_t)snprintf(result->why + length, sizeof(result->why) - length, "; ");
	result->verdict = CAMPAIGN_VACUOUS;
	if (length >= sizeof(result->why))
		return;
	va_start(arguments, format);
	vsnprintf(result->why + length, sizeof(result->why) - length, format, arguments);
	va_end(arguments);
}

static void check_kinds(struct campaign_result *result)
{
	char name[SCRIPT_WORDS_NAME_BYTES];
	unsigned kind;

	for (kind = 0; kind < SCRIPT_KINDS; kind++) {
		double expected = result->expected[kind];

		if (expected >= FLOOR_EXPECTED &&
		    (double)result->operations[kind] < expected / FLOOR_SHARE)
			miss(result, "%" PRIu64 " times %s, of about %.0f",
			     result->operations[kind],
			     script_words_name(name, (enum script_kind)kind), expected);
	}
}

/* A pass that says nothing is none. */
static void check_vacuous(const struct campaign *campaign)
{
	struct campaign_result *result = campaign->result;

	if (!result->rounds)
		miss(result, "no round was run");
	if (!campaign->options->operations || !sum_of(result->operations, SCRIPT_KINDS))
		miss(result, "no operation was run");
	if (!result->recounts || !result->references)
		miss(result, "nothing was counted again");
	if (!result->actions)
		miss(result, "no change of a reference was checked");
	if (campaign->quota_rounds >= QUOTA_ROUNDS && !result->groups)
		miss(result, "no group was compared");
	check_kinds(result);
}

static bool goes_on(const struct campaign *campaign, uint64_t number)
{
	const struct campaign_options *options = campaign->options;

	if (!options->operations || number - options->first >= options->rounds)
		return false;
	return options->seconds == 0 || seconds_since(campaign->begin_ns) < options->seconds;
}

int campaign_run(const struct campaign_options *options, struct campaign_result *result,
		 struct rs_error *error)
{
	struct campaign campaign = {
		.options = options,
		.result = result,
		.begin_ns = clock_now_ns(),
	};
	uint64_t number;

	memset(result, 0, sizeof(*result));
	result->failed_round = UINT64_MAX;
	result->scripts_digest = DIGEST_BEGIN;
	result->state_digest = DIGEST_BEGIN;
	campaign.board = board_create();
	if (!campaign.board)
		return error_no_memory(error, "the rounds");
	for (number = options->first; goes_on(&campaign, number); number++)
		if (!run_round(&campaign, number, error))
			break;
	if (campaign.shown_ns)
		fputs("\r\033[K", stderr);
	board_destroy(campaign.board);
	result->seconds = seconds_since(campaign.begin_ns);
	if (error->code)
		return error->code;
	if (result->verdict == CAMPAIGN_PASS)
		check_vacuous(&campaign);
	return 0;
}
