/* SPDX-License-Identifier: MIT */
/* The program refstorm-record-stress: the record path under load, checked by an oracle of its own. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/plant.h"
#include "stress/record/driver.h"
#include "stress/record/report.h"
#include "stress/record/stalls.h"

static int main_unusable(const char *text)
{
	fprintf(stderr, "refstorm-record-stress: %s\n", text);
	return STRESS_UNUSABLE;
}

/* A plant that was never reached would make the run look sound. */
static enum stress_verdict main_plant(enum stress_verdict verdict)
{
	if (verdict != STRESS_PASS || !getenv("REFSTORM_PLANT") || plant_reached_count())
		return verdict;
	fputs("refstorm-record-stress: the planted bug was not reached\n", stderr);
	return STRESS_NOTHING;
}

int main(int argc, char **argv)
{
	static struct stress stress;
	struct rs_error error = RS_ERROR_INIT;
	enum stress_verdict verdict;
	struct options options;
	int result = options_parse(&options, argc, argv);
	bool json;

	if (result)
		return result < 0 ? STRESS_PASS : result;
	if (plant_environment_check(&error))
		return main_unusable(error.what);
	if (options.stalls && !stalls_are_possible())
		return main_unusable("--stalls: this build has no windows");
	fprintf(stderr, "refstorm-record-stress: --seed %" PRIu64 " --timing-seed %" PRIu64 "\n",
		options.seed, options.timing_seed);
	signal(SIGINT, driver_interrupt);
	signal(SIGTERM, driver_interrupt);
	verdict = driver_create(&stress, &options);
	if (verdict == STRESS_PASS)
		verdict = main_plant(driver_run(&stress));
	if (verdict == STRESS_UNUSABLE)
		return (int)verdict;
	json = report_json(&stress, verdict, argc, argv);
	if (!options.json || options.json[0] != '-' || options.json[1])
		report_text(stdout, &stress, verdict);
	if (fflush(stdout) || !json)
		verdict = verdict ? verdict : STRESS_UNUSABLE;
	/* Of a hang, or after a fault, threads may be left, and memory that they use. */
	if (verdict != STRESS_PASS)
		_exit((int)verdict);
	driver_destroy(&stress);
	return STRESS_PASS;
}
