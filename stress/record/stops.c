/* SPDX-License-Identifier: MIT */
#include "stress/record/stops.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/random.h"

/* Between two looks whether a thread has stopped, and the most of them. */
#define STOPS_LOOK_NS 50000L
#define STOPS_LOOKS 200000U

static void stops_sleep(uint64_t us)
{
	struct timespec pause = { (time_t)(us / 1000000), (long)(us % 1000000) * 1000 };

	while (nanosleep(&pause, &pause) && errno == EINTR)
		;
}

/* What all have done so far but the producer at `seat`. */
static struct shared_rates stops_work(const struct shared *shared, unsigned seat)
{
	struct shared_rates work = {
		.ns = clock_now_ns(),
		.deltas = shared_deltas(shared) - order_load_relaxed(&shared->seats[seat].deltas),
		.merges = order_load_relaxed(&shared->merges),
		.lookups = order_load_relaxed(&shared->lookups),
	};

	return work;
}

/* Sleeps, and adds what the others do meanwhile. */
static void stops_watch(struct shared *shared, unsigned seat, uint64_t us,
			struct shared_rates *rates)
{
	struct shared_rates begin = stops_work(shared, seat);
	struct shared_rates end;

	stops_sleep(us);
	end = stops_work(shared, seat);
	rates->ns += end.ns - begin.ns;
	rates->deltas += end.deltas - begin.deltas;
	rates->merges += end.merges - begin.merges;
	rates->lookups += end.lookups - begin.lookups;
}

static uint64_t stops_address(pid_t thread)
{
#if defined(__x86_64__)
	struct user_regs_struct registers;
	struct iovec vector = { &registers, sizeof(registers) };

	if (!ptrace(PTRACE_GETREGSET, thread, (void *)NT_PRSTATUS, &vector))
		return registers.rip;
#elif defined(__aarch64__)
	struct user_regs_struct registers;
	struct iovec vector = { &registers, sizeof(registers) };

	if (!ptrace(PTRACE_GETREGSET, thread, (void *)NT_PRSTATUS, &vector))
		return registers.pc;
#endif
	(void)thread;
	return 0;
}

/* Until the thread has stopped. False: it has ended. */
static bool stops_wait(pid_t thread)
{
	unsigned looks;
	int status;

	for (looks = 0; looks < STOPS_LOOKS; looks++) {
		pid_t found = waitpid(thread, &status, __WALL | WNOHANG);

		if (found == thread)
			return WIFSTOPPED(status);
		if (found < 0)
			return false;
		stops_sleep(STOPS_LOOK_NS / 1000);
	}
	return false;
}

/* Short ones as often as long ones, by their logarithm. */
static uint64_t stops_length_us(struct random_state *random, uint64_t longest_ms)
{
	uint64_t us = 1000 + random_state_below(random, 1000);
	uint64_t longest = longest_ms * 1000;

	while (us < longest && random_state_chance(random, 3, 4))
		us *= 2;
	return us < longest ? us : longest;
}

static void stops_hold(struct shared *shared, unsigned seat, pid_t thread, uint64_t us)
{
	struct shared_tracer *tracer = &shared->tracer;
	uint32_t phase = order_load_relaxed(&shared->seats[seat].phase);
	uint64_t begin = clock_now_ns();

	order_store_relaxed(&tracer->stopped, (uint32_t)thread);
	if (tracer->address_count < SHARED_ADDRESSES)
		tracer->addresses[tracer->address_count++] = stops_address(thread);
	stops_watch(shared, seat, us, &tracer->during);
	tracer->stops_in[phase % SHARED_PHASES]++;
	begin = clock_now_ns() - begin;
	tracer->stopped_ns += begin;
	tracer->stopped_ns_max = begin > tracer->stopped_ns_max ? begin : tracer->stopped_ns_max;
	order_fetch_add_relaxed(&tracer->stops, 1);
	order_store_relaxed(&tracer->stopped, 0);
}

static void stops_one(struct shared *shared, struct random_state *random, uint64_t longest_ms)
{
	struct shared_tracer *tracer = &shared->tracer;
	unsigned seat = (unsigned)random_state_below(random, shared->seat_count);
	uint64_t us = stops_length_us(random, longest_ms);
	pid_t thread;

	/* As long as the stop, so that the two rates are taken alike. */
	stops_watch(shared, seat, us, &tracer->between);
	thread = (pid_t)order_load_relaxed(&shared->seats[seat].thread);
	if (!thread)
		return;
	if (ptrace(PTRACE_SEIZE, thread, NULL, NULL)) {
		tracer->error = errno;
		order_fetch_add_relaxed(errno == ESRCH ? &tracer->missed : &tracer->failed, 1);
		return;
	}
	if (ptrace(PTRACE_INTERRUPT, thread, NULL, NULL) || !stops_wait(thread)) {
		order_fetch_add_relaxed(&tracer->missed, 1);
		return;
	}
	stops_hold(shared, seat, thread, us);
	ptrace(PTRACE_DETACH, thread, NULL, NULL);
}

static void stops_main(struct shared *shared, uint64_t seed, uint64_t longest_ms)
{
	struct shared_tracer *tracer = &shared->tracer;
	struct random_state random;
	pid_t parent = getppid();

	random_state_seed(&random, seed, 5000);
	while (!order_load_relaxed(&shared->merges) && !shared_deltas(shared) &&
	       getppid() == parent && !order_load_relaxed(&tracer->finish))
		stops_sleep(1000);
	/* Ends: when told to, or when the process that it traces is gone. */
	while (!order_load_relaxed(&tracer->finish) && getppid() == parent)
		stops_one(shared, &random, longest_ms);
}

pid_t stops_start(struct shared *shared, uint64_t seed, uint64_t longest_ms)
{
	pid_t tracer = fork();

	if (tracer < 0)
		return -errno;
	if (!tracer) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		stops_main(shared, seed, longest_ms);
		_exit(0);
	}
	/* Where only descendants may be traced; refused where that is not asked. */
	(void)prctl(PR_SET_PTRACER, tracer, 0, 0, 0);
	return tracer;
}

bool stops_end(struct shared *shared, pid_t tracer)
{
	int status = 0;

	order_store_relaxed(&shared->tracer.finish, 1);
	while (waitpid(tracer, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && !WEXITSTATUS(status);
}
