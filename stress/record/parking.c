/* SPDX-License-Identifier: MIT */
#include "stress/record/parking.h"

void parking_init(struct parking *parking)
{
	pthread_mutex_init(&parking->mutex, NULL);
	pthread_cond_init(&parking->changed, NULL);
}

void parking_destroy(struct parking *parking)
{
	pthread_cond_destroy(&parking->changed);
	pthread_mutex_destroy(&parking->mutex);
}

void parking_ask(struct parking *parking)
{
	pthread_mutex_lock(&parking->mutex);
	order_store_relaxed(&parking->asked, 1);
	pthread_mutex_unlock(&parking->mutex);
}

void parking_release(struct parking *parking)
{
	pthread_mutex_lock(&parking->mutex);
	order_store_relaxed(&parking->asked, 0);
	/* Whoever is asked again before it has run is counted again. */
	parking->parked = parking->gone;
	parking->turn++;
	pthread_cond_broadcast(&parking->changed);
	pthread_mutex_unlock(&parking->mutex);
}

unsigned parking_count(struct parking *parking)
{
	unsigned parked;

	pthread_mutex_lock(&parking->mutex);
	parked = parking->parked;
	pthread_mutex_unlock(&parking->mutex);
	return parked;
}

void parking_gone(struct parking *parking)
{
	pthread_mutex_lock(&parking->mutex);
	parking->gone++;
	parking->parked++;
	pthread_mutex_unlock(&parking->mutex);
}

void parking_rest(struct parking *parking)
{
	unsigned turn;

	pthread_mutex_lock(&parking->mutex);
	turn = parking->turn;
	parking->parked += order_load_relaxed(&parking->asked) != 0;
	while (order_load_relaxed(&parking->asked) && parking->turn == turn)
		pthread_cond_wait(&parking->changed, &parking->mutex);
	pthread_mutex_unlock(&parking->mutex);
}
