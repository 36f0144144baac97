/* commands.h - what each command's file offers to the table. Each returns an
 * exit code and has already said on stderr what went wrong. */
#ifndef TOOLS_COMMANDS_H
#define TOOLS_COMMANDS_H

struct cli_context;

int cmd_ls(struct cli_context *context);
int cmd_find(struct cli_context *context);
int cmd_show(struct cli_context *context);
int cmd_actor(struct cli_context *context);
int cmd_stats(struct cli_context *context);
int cmd_alarms(struct cli_context *context);
int cmd_top(struct cli_context *context);
int cmd_tail(struct cli_context *context);
int cmd_doctor(struct cli_context *context);
int cmd_check(struct cli_context *context);
int cmd_send(struct cli_context *context);
int cmd_requeue(struct cli_context *context);
int cmd_purge(struct cli_context *context);
int cmd_cancel(struct cli_context *context);
int cmd_undo(struct cli_context *context);
int cmd_edit(struct cli_context *context);
int cmd_pause(struct cli_context *context);
int cmd_resume(struct cli_context *context);
int cmd_verify(struct cli_context *context);
int cmd_export(struct cli_context *context);
int cmd_import(struct cli_context *context);
int cmd_backup(struct cli_context *context);
int cmd_restore(struct cli_context *context);
int cmd_salvage(struct cli_context *context);
int cmd_compact(struct cli_context *context);
int cmd_bench(struct cli_context *context);

#endif
