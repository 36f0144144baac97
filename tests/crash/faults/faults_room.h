/* faults_room.h - a store without room, filled and drained again and again. */
#ifndef FAULTS_ROOM_H
#define FAULTS_ROOM_H

#include <stdint.h>

/* `what`: "disk" or "map". The program's exit status: 77, skipped. */
int room_cycles(const char *what, uint32_t cycles, const char *mutant);

#endif
