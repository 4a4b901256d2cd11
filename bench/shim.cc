// SPDX-License-Identifier: MIT
#include "bench/shim.h"

#include <benchmark/benchmark.h>
#include <ctime>
#include <cstdio>
#include <string>

/* One thread of one benchmark. */
struct bench_state {
	benchmark::State *state;
	const void *argument;
	bool begun;
	double cpu_begin; /* when it began to count */
	double cpu;       /* what has counted before */
};

static bool any_failed;

static double thread_cpu_seconds()
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

void bench_register(const char *name, bench_fn *fn, int threads)
{
	bench_register_with(name, fn, nullptr, threads);
}

void bench_register_with(const char *name, bench_fn *fn, const void *argument, int threads)
{
	auto body = [fn, argument](benchmark::State &state) {
		bench_state mine{ &state, argument, false, 0, 0 };

		fn(&mine);
	};

	benchmark::RegisterBenchmark(name, body)->Threads(threads);
}

const void *bench_argument(const struct bench_state *state)
{
	return state->argument;
}

bool bench_running(struct bench_state *state)
{
	if (!state->begun) {
		state->begun = true;
		state->cpu_begin = thread_cpu_seconds();
	}
	if (state->state->KeepRunning())
		return true;
	state->cpu += thread_cpu_seconds() - state->cpu_begin;
	return false;
}

void bench_pause(struct bench_state *state)
{
	state->cpu += thread_cpu_seconds() - state->cpu_begin;
}

void bench_resume(struct bench_state *state)
{
	state->cpu_begin = thread_cpu_seconds();
}

int bench_thread(const struct bench_state *state)
{
	return state->state->thread_index();
}

int bench_threads(const struct bench_state *state)
{
	return state->state->threads();
}

void bench_figure(struct bench_state *state, const char *name, double value)
{
	state->state->counters[name] = benchmark::Counter(value, benchmark::Counter::kAvgThreads);
}

void bench_done(struct bench_state *state, const char *unit, uint64_t count)
{
	double seconds = state->cpu;
	std::string name = std::string("cpu_ns_per_") + unit;

	/* Counters of threads are summed unless told otherwise. */
	state->state->counters[name] =
		benchmark::Counter(count ? seconds * 1e9 / static_cast<double>(count) : 0,
				   benchmark::Counter::kAvgThreads);
}

void bench_bytes(struct bench_state *state, uint64_t count)
{
	state->state->SetBytesProcessed(static_cast<int64_t>(count));
}

void bench_fail(struct bench_state *state, const char *why)
{
	any_failed = true;
	state->state->SkipWithError(why);
}

int main(int argc, char **argv)
{
	bench_register_batch();
	bench_register_cut();
	bench_register_disk();
	bench_register_forest();
	bench_register_ledger();
	bench_register_ledger_large();
	bench_register_path();
	bench_register_quota();
	bench_register_quota_changed();
	bench_register_record();
	bench_register_sets();
	bench_register_snapshots();
	benchmark::Initialize(&argc, argv);
	if (benchmark::ReportUnrecognizedArguments(argc, argv))
		return 2;
	/* The library calls it a success when a filter matches nothing. */
	if (!benchmark::RunSpecifiedBenchmarks()) {
		std::fputs("refstorm-microbench: no benchmark has such a name\n", stderr);
		return 6;
	}
	benchmark::Shutdown();
	return any_failed ? 1 : 0;
}
