/* cells.h - small pieces of memory close together: actors and their states.
 *
 * A page of cells is one unit of a slab and holds cells of one size. A million actors
 * lie on some dozens of huge pages then, and a look-up costs no walk through page
 * tables besides. One thread. */
#ifndef ENGINE_CELLS_H
#define ENGINE_CELLS_H

#include "storage/slabs.h"

enum {
    HF_CELL_STEP = 8,
    HF_CELL_LINE = 64,  /* of the processor's cache */
    HF_CELL_MOST = 512, /* larger pieces lie elsewhere */
};

typedef struct hf_cell_page hf_cell_page;

typedef struct hf_cells {
    hf_slabs      slabs;
    hf_cell_page *open[HF_CELL_MOST / HF_CELL_STEP]; /* by size: pages with free cells */
} hf_cells;

void  hf_cells_init(hf_cells *cells);
void  hf_cells_done(hf_cells *cells); /* every cell was given back */

void *hf_cells_take(hf_cells *cells, size_t size); /* NULL: out of memory */
void  hf_cells_give(hf_cells *cells, void *cell, size_t size); /* NULL is fine */

#endif
