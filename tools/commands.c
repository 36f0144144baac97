/* commands.c - the one table of what `holdfast` understands.
 *
 * Data only. To add a command: a row here, a line in commands.h, a file
 * cmd_NAME.c. To add an option: an id in options.h, a row here. */
#include "tools/commands.h"
#include "tools/options.h"

const cli_option cli_options[OPTIONS] = {
    [OPT_STORE] = { "store", 'd', CLI_TEXT, "DIR", "the store [$HOLDFAST_STORE]" },
    [OPT_JSON] = { "json", 0, CLI_FLAG, NULL, "one JSON document" },
    [OPT_NDJSON] = { "ndjson", 0, CLI_FLAG, NULL, "one JSON object a line" },
    [OPT_PLAIN] = { "plain", 0, CLI_FLAG, NULL, "tabs, no header" },
    [OPT_QUIET] = { "quiet", 'q', CLI_FLAG, NULL, "say nothing that is not asked for" },
    [OPT_VERBOSE] = { "verbose", 'v', CLI_FLAG, NULL, "say more on stderr" },
    [OPT_COLOR] = { "color", 0, CLI_WHEN, "WHEN", "auto, always or never [auto]" },
    [OPT_NO_INPUT] = { "no-input", 0, CLI_FLAG, NULL, "never ask" },
    [OPT_WAIT] = { "wait", 0, CLI_DURATION, "TIME", "for a busy store at most [5s]" },
    [OPT_HELP] = { "help", 'h', CLI_FLAG, NULL, "this" },
    [OPT_VERSION] = { "version", 0, CLI_FLAG, NULL, "the version" },
    [OPT_WHERE] = { "where", 0, CLI_TEXT, "EXPR", "only what this selects" },
    [OPT_LIMIT] = { "limit", 0, CLI_NUMBER, "N", "at most so many" },
    [OPT_AFTER] = { "after", 0, CLI_NUMBER, "ID", "only ids above this one" },
    [OPT_FIELDS] = { "fields", 0, CLI_TEXT, "A,B", "these columns" },
    [OPT_YES] = { "yes", 0, CLI_FLAG, NULL, "do not ask, do it" },
    [OPT_DRY_RUN] = { "dry-run", 0, CLI_FLAG, NULL, "only say what would be done" },
    [OPT_REASON] = { "reason", 0, CLI_TEXT, "TEXT", "why, for those who look later" },
    [OPT_RATE] = { "rate", 0, CLI_PER_SECOND, "N/s", "no faster than this [requeue: 500/s]" },
    [OPT_KEEP_ATTEMPTS] = { "keep-attempts", 0, CLI_FLAG, NULL, "tries used stay used" },
    [OPT_ALL] = { "all", 0, CLI_FLAG, NULL, "everything" },
    [OPT_KIND] = { "kind", 0, CLI_TEXT, "WORD", "the message's kind" },
    [OPT_COUNT] = { "count", 0, CLI_NUMBER, "N", "so many copies [1]" },
    [OPT_RAW] = { "raw", 0, CLI_FLAG, NULL, "the body as it is, no JSON" },
    [OPT_BODY] = { "body", 0, CLI_NUMBER, "BYTES", "of each message" },
    [OPT_STATE] = { "state", 0, CLI_NUMBER, "BYTES", "of each actor [64]" },
    [OPT_ACTORS] = { "actors", 0, CLI_NUMBER, "N", "how many actors" },
    [OPT_THREADS] = { "threads", 0, CLI_NUMBER, "N", "senders [1]" },
    [OPT_PENDING] = { "pending", 0, CLI_NUMBER, "N", "messages that wait [10000000]" },
    [OPT_SECONDS] = { "seconds", 0, CLI_DURATION, "N", "how long to measure [10]" },
    [OPT_HISTORY] = { "history", 0, CLI_NUMBER, "N",
                      "finished messages that are known, 0: none [100000]" },
    [OPT_FLOOD] = { "flood", 0, CLI_TEXT, "type|actor", "whose messages are the crowd [actor]" },
    [OPT_ALARMS] = { "alarms", 0, CLI_NUMBER, "N", "that are due while it measures [1000000]" },
    [OPT_TO] = { "to", 0, CLI_TEXT, "WHERE", "the new store; requeue: another actor" },
    [OPT_SET] = { "set", 0, CLI_TEXT, "PATH=VAL", "this value at this path of the body" },
    [OPT_FILE] = { "file", 0, CLI_TEXT, "FILE", "the new body; `-` is stdin" },
    [OPT_OUTPUT] = { "output", 'o', CLI_TEXT, "FILE", "write there [stdout]" },
    [OPT_IN] = { "in", 0, CLI_DURATION, "TIME", "not before so much time has passed" },
    [OPT_AT] = { "at", 0, CLI_TEXT, "TIME", "not before this time, ISO-8601 UTC" },
    [OPT_DEDUPE] = { "dedupe", 0, CLI_TEXT, "WORD", "sent once under this word, however often" },
    [OPT_EXPIRES] = { "expires", 0, CLI_DURATION, "TIME", "dead if not begun within this" },
    [OPT_URGENCY] = { "urgency", 0, CLI_NUMBER, "1-9", "before those that are less urgent" },
    [OPT_ONCE] = { "once", 0, CLI_FLAG, NULL, "measure once, print, end" },
    [OPT_INTERVAL] = { "interval", 0, CLI_DURATION, "TIME", "between two looks [1s]" },
    [OPT_OPENMETRICS] = { "openmetrics", 0, CLI_FLAG, NULL, "for a scraper: OpenMetrics text" },
    [OPT_WARN_AGE] = { "warn-age", 0, CLI_DURATION, "TIME", "of the oldest message: WARNING [5m]" },
    [OPT_CRIT_AGE] = { "crit-age", 0, CLI_DURATION, "TIME",
                       "of the oldest message: CRITICAL [1h]" },
    [OPT_CRIT_DEAD] = { "crit-dead", 0, CLI_NUMBER, "N", "so many dead: CRITICAL [never]" },
    [OPT_SHARDS] = { "shards", 0, CLI_NUMBER, "N", "shards of the engine [one a core]" },
};

const cli_command cli_commands[] = {
    { .name = "ls",
      .operands = "[types|actors|errors]",
      .most = 1,
      .summary = "count messages by type, actor, or error text",
      .more = "By status, with the oldest, what is paused, held and stuck.",
      .examples = "holdfast ls -d /var/lib/shop\n"
                  "holdfast ls actors --where 'type = order' --limit 20\n"
                  "holdfast ls errors --json\n",
      .options = { OPT_WHERE, OPT_LIMIT, OPTIONS },
      .run = cmd_ls },
    { .name = "find",
      .operands = "",
      .summary = "messages, one a line",
      .more = "Prints how many messages were scanned. --fields takes id, key, actor, from, kind,\n"
              "cause, status, attempt, sent, due, died, retry, err, error, body_bytes, body.",
      .examples = "holdfast find --where 'status = dead and type = order'\n"
                  "holdfast find --where 'actor = order/42' --fields id,status,body\n"
                  "holdfast find --after 4711 --limit 100 --ndjson\n",
      .options = { OPT_WHERE, OPT_LIMIT, OPT_AFTER, OPT_FIELDS, OPTIONS },
      .run = cmd_find },
    { .name = "show",
      .operands = "ID",
      .least = 1,
      .most = 1,
      .summary = "one message: envelope, body, attempts, steps",
      .examples = "holdfast show 4711\n"
                  "holdfast show 4711 --json\n",
      .options = { OPTIONS },
      .run = cmd_show },
    { .name = "actor",
      .operands = "TYPE/KEY",
      .least = 1,
      .most = 1,
      .summary = "one actor: state, inbox, alarms, and why it does not go on",
      .examples = "holdfast actor order/42\n"
                  "holdfast actor order/42 --limit 100 --json\n",
      .options = { OPT_LIMIT, OPTIONS },
      .run = cmd_actor },
    { .name = "alarms",
      .operands = "",
      .summary = "what is due when: alarms, schedules, delayed messages",
      .more =
          "Soonest first. MISSED: how many ticks of a schedule are made up for. In --where, kind is\n"
          "the name of an alarm or schedule.",
      .examples = "holdfast alarms --limit 20\n"
                  "holdfast alarms --where 'type = order and due < 2026-02-01'\n"
                  "holdfast alarms --where 'actor = order/42' --json\n",
      .options = { OPT_WHERE, OPT_LIMIT, OPTIONS },
      .run = cmd_alarms },
    { .name = "stats",
      .operands = "",
      .summary = "counters, commit latency, sizes, headroom",
      .examples = "holdfast stats\n"
                  "holdfast stats --json\n"
                  "holdfast stats --openmetrics\n",
      .options = { OPT_OPENMETRICS, OPTIONS },
      .run = cmd_stats },
    { .name = "top",
      .operands = "",
      .summary = "live: rates, backlog, busiest and failing types, latency, sizes",
      .more = "Keys: q ends, ? lists the others. Not on a terminal, or with --once or --json, it\n"
              "measures over one interval, prints that and ends. An engine that goes away is\n"
              "looked for until it is back.",
      .examples = "holdfast top -d /var/lib/shop\n"
                  "holdfast top --interval 5s\n"
                  "holdfast top --once --json\n",
      .options = { OPT_ONCE, OPT_INTERVAL, OPTIONS },
      .run = cmd_top },
    { .name = "tail",
      .operands = "",
      .summary = "follow messages as they come, finish, fail",
      .more =
          "From now on, or from --after on: a message, or a position that tail said. Goes on until\n"
          "Ctrl-C, --limit, or the reader of a pipe is gone; an engine that goes away is waited\n"
          "for. Without an engine it prints what the log has, and ends.\n"
          "In --where, status is what it became. What the log does not say of an event matches\n"
          "nothing: attempts of what is done, strikes; and of a message sent so long ago that\n"
          "the log has lost it, all but id, status and what the event itself tells.",
      .examples = "holdfast tail -d /var/lib/shop\n"
                  "holdfast tail --where 'type = order and status in (retrying, dead)'\n"
                  "holdfast tail --after 4711 --limit 100 --ndjson\n",
      .options = { OPT_WHERE, OPT_AFTER, OPT_LIMIT, OPTIONS },
      .run = cmd_tail },
    { .name = "send",
      .operands = "TYPE/KEY [BODY|-]",
      .least = 1,
      .most = 2,
      .summary = "send a message",
      .more =
          "BODY is JSON and stored as msgpack, or with --raw any bytes; `-` reads it from stdin.\n"
          "{\"$bin\":\"base64\"} stands for binary. Prints the new id.",
      .examples = "holdfast send order/42 '{\"qty\":1}' --kind place\n"
                  "holdfast send mail/7 - --raw < letter.txt\n"
                  "holdfast send order/42 --kind remind --in 5m --dedupe reminder-42\n",
      .options = { OPT_KIND, OPT_IN, OPT_AT, OPT_DEDUPE, OPT_EXPIRES, OPT_URGENCY, OPT_COUNT,
                   OPT_RAW, OPT_REASON, OPT_DRY_RUN, OPTIONS },
      .run = cmd_send },
    { .name = "requeue",
      .operands = "[ID ...]",
      .most = -1,
      .summary = "dead: back to the inbox; delayed or retrying: due now",
      .more =
          "At its old place, with fresh tries. Each batch is on disk before the next begins, so\n"
          "an interrupted run can be repeated.",
      .examples = "holdfast requeue 4711\n"
                  "holdfast requeue --where 'status = dead and type = order' --dry-run\n"
                  "holdfast requeue --where 'status = dead' --rate 100/s --yes\n"
                  "holdfast requeue 4711 --to order/43 --in 10m\n",
      .options = { OPT_WHERE, OPT_LIMIT, OPT_RATE, OPT_KEEP_ATTEMPTS, OPT_IN, OPT_TO, OPT_REASON,
                   OPT_DRY_RUN, OPT_YES, OPTIONS },
      .run = cmd_requeue },
    { .name = "purge",
      .operands = "[ID ...]",
      .most = -1,
      .summary = "dead: gone for ever",
      .more =
          "The only command that destroys: it always asks, or wants --yes. Each batch is on disk\n"
          "before the next begins, so an interrupted run can be repeated.",
      .examples =
          "holdfast purge 4711\n"
          "holdfast purge --where 'status = dead and type = order' --dry-run\n"
          "holdfast purge --where 'status = dead' --limit 1000 --reason 'test data' --yes\n",
      .options = { OPT_WHERE, OPT_LIMIT, OPT_RATE, OPT_REASON, OPT_DRY_RUN, OPT_YES, OPTIONS },
      .run = cmd_purge },
    { .name = "cancel",
      .operands = "[ID ...]",
      .most = -1,
      .summary = "waiting: dead, `cancelled`; running: asked to stop",
      .more =
          "Never begun afterwards; steps that were begun are undone first. Without an engine the\n"
          "message is marked, and the next engine buries it when its turn comes.",
      .examples = "holdfast cancel 4711 --reason 'ordered twice'\n"
                  "holdfast cancel --where 'actor = mail/7 and status = retrying' --dry-run\n"
                  "holdfast cancel --where 'type = mail' --yes\n",
      .options = { OPT_WHERE, OPT_LIMIT, OPT_RATE, OPT_REASON, OPT_DRY_RUN, OPT_YES, OPTIONS },
      .run = cmd_cancel },
    { .name = "undo",
      .operands = "[ID ...]",
      .most = -1,
      .summary = "undo the steps of dead messages",
      .more = "Last begun first, by the type's own undo; then the message is dead again. One that\n"
              "began no step is unchanged.",
      .examples = "holdfast undo 4711\n"
                  "holdfast undo --where 'status = dead and type = order' --yes\n",
      .options = { OPT_WHERE, OPT_LIMIT, OPT_RATE, OPT_REASON, OPT_DRY_RUN, OPT_YES, OPTIONS },
      .run = cmd_undo },
    { .name = "edit",
      .operands = "[ID ...]",
      .most = -1,
      .summary = "another body for messages that wait or are dead",
      .more =
          "PATH names a place in the body as in --where: total, items[0].sku. VAL is JSON, or a\n"
          "word. --file brings the whole body (JSON, with --raw any bytes). The first body is kept\n"
          "and shown by `show`. What runs is not edited: exit code 6.",
      .examples =
          "holdfast edit 4711 --set total=100 --dry-run\n"
          "holdfast edit 4711 --file body.json --reason 'the price was wrong'\n"
          "holdfast edit --where 'status = dead and body.currency = DM' --set currency=EUR --yes\n",
      .options = { OPT_SET, OPT_FILE, OPT_RAW, OPT_WHERE, OPT_LIMIT, OPT_RATE, OPT_REASON,
                   OPT_DRY_RUN, OPT_YES, OPTIONS },
      .run = cmd_edit },
    { .name = "pause",
      .operands = "TYPE[/KEY] | --all",
      .most = 1,
      .summary = "stop a type, an actor, or everything",
      .more = "Survives restarts. What waits stays in the store.",
      .examples = "holdfast pause order --reason 'the bank is down'\n"
                  "holdfast pause order/42\n"
                  "holdfast pause --all\n",
      .options = { OPT_ALL, OPT_REASON, OPT_DRY_RUN, OPTIONS },
      .run = cmd_pause },
    { .name = "resume",
      .operands = "TYPE[/KEY] | --all",
      .most = 1,
      .summary = "let it go on",
      .more = "Of a type it closes the breaker, too. While the engine restarts again and again,\n"
              "--wait 30s waits for a moment without it; so does pause.",
      .examples = "holdfast resume order\n"
                  "holdfast resume --all\n",
      .options = { OPT_ALL, OPT_REASON, OPT_DRY_RUN, OPTIONS },
      .run = cmd_resume },
    { .name = "verify",
      .operands = "",
      .summary = "every checksum, every page and every rule of a store",
      .more =
          "Reads the whole data file; a living engine is not disturbed. Each finding is a line;\n"
          "exit code 5 if there is one. Nothing is changed.",
      .examples = "holdfast verify -d /var/lib/shop\n"
                  "holdfast verify -d backup --json\n",
      .options = { OPTIONS },
      .run = cmd_verify },
    { .name = "export",
      .operands = "",
      .summary = "messages with their bodies, as NDJSON",
      .more =
          "A header line, a line a message, a line that counts them. -o writes a file that gets its\n"
          "name when it is whole.",
      .examples = "holdfast export --where 'status = dead' -o dead.ndjson\n"
                  "holdfast export --where 'type = order' > orders.ndjson\n",
      .options = { OPT_WHERE, OPT_LIMIT, OPT_OUTPUT, OPTIONS },
      .run = cmd_export },
    { .name = "import",
      .operands = "FILE|-",
      .least = 1,
      .most = 1,
      .summary = "what an export wrote comes in, with new ids",
      .more =
          "Everything is checked before anything is written. Dead letters come in dead, and so does\n"
          "what was cancelled or being undone; delayed ones delayed, tries and times with them.\n"
          "Interrupted, it can be repeated within a day: what is there already does not come twice.",
      .examples = "holdfast import dead.ndjson --dry-run\n"
                  "holdfast import orders.ndjson --limit 100\n",
      .options = { OPT_LIMIT, OPT_REASON, OPT_DRY_RUN, OPTIONS },
      .run = cmd_import },
    { .name = "backup",
      .operands = "FILE|-",
      .least = 1,
      .most = 1,
      .summary = "one moment of a store into a file, while its engine runs on",
      .more = "Compressed, with a checksum; read back before it has its name. `-` is stdout.",
      .examples = "holdfast backup -d /var/lib/shop /backup/shop.hfb\n"
                  "holdfast backup -d /var/lib/shop - --quiet\n",
      .options = { OPTIONS },
      .run = cmd_backup },
    { .name = "restore",
      .operands = "FILE|-",
      .least = 1,
      .most = 1,
      .summary = "a backup into a new store",
      .more = "Messages of the backup keep their ids and keys; what the new store sends gets new\n"
              "ones. Nothing is at DIR until all of the backup has been checked.",
      .examples = "holdfast restore /backup/shop.hfb --to /var/lib/shop\n",
      .options = { OPT_TO, OPTIONS },
      .run = cmd_restore },
    { .name = "salvage",
      .operands = "",
      .summary = "what is sound of a damaged store into a new one",
      .more =
          "The old store is only read, and no engine may have it. Each finding is a line. What has\n"
          "lost something is paused there, and messages that may have been handled are dead\n"
          "letters, \"possibly delivered\". Exit code 7 if anything is missing or in doubt.",
      .examples = "holdfast salvage -d /var/lib/shop --to /var/lib/shop.new\n"
                  "holdfast salvage -d /var/lib/shop --to /mnt/shop --json >report.json\n",
      .options = { OPT_TO, OPTIONS },
      .run = cmd_salvage },
    { .name = "compact",
      .operands = "",
      .summary = "give freed pages back to the file system",
      .more =
          "No engine may have the store. It is written anew beside itself and exchanged in one\n"
          "step; with --to it goes to another disk, and the old one stays as it is.",
      .examples = "holdfast compact -d /var/lib/shop\n"
                  "holdfast compact -d /var/lib/shop --to /mnt/larger/shop\n",
      .options = { OPT_TO, OPTIONS },
      .run = cmd_compact },
    { .name = "doctor",
      .operands = "",
      .summary = "what could go wrong with a store, and what to do about it",
      .more =
          "Disk, file system, rights, room, sync, clock, versions, readers, the last stop, dead\n"
          "and held messages: each is ok, warn or bad. Exit code 1 if one is bad. Works with\n"
          "and without an engine.",
      .examples = "holdfast doctor -d /var/lib/shop\n"
                  "holdfast doctor --json\n",
      .options = { OPTIONS },
      .run = cmd_doctor },
    { .name = "check",
      .operands = "",
      .summary = "is all well? one line, for a monitoring system",
      .more = "Exit code 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN, with figures behind the bar.\n"
              "What is delayed is not old. No engine is a WARNING, one that stopped by itself or\n"
              "does not answer is CRITICAL.",
      .examples = "holdfast check -d /var/lib/shop\n"
                  "holdfast check --warn-age 1m --crit-age 10m --crit-dead 100\n",
      .options = { OPT_WARN_AGE, OPT_CRIT_AGE, OPT_CRIT_DEAD, OPTIONS },
      .run = cmd_check,
      .misused = 3 },
    { .name = "bench",
      .operands = "tell|state|wait|open|memory|crowd|alarms|peek|disk",
      .least = 1,
      .most = 1,
      .summary = "the published numbers, on your machine",
      .more =
          "Makes a store of its own (in the current directory, or --store DIR), measures, checks\n"
          "the sums after a reopen, and removes it. docs/bench.md says what each figure means.",
      .examples = "holdfast bench tell\n"
                  "holdfast bench state --actors 1000000 --state 64 --json\n"
                  "holdfast bench wait --threads 64\n"
                  "holdfast bench open --pending 10000000\n"
                  "holdfast bench memory --actors 1000000\n"
                  "holdfast bench crowd --pending 10000000\n"
                  "holdfast bench crowd --flood type --pending 1000000\n"
                  "holdfast bench alarms --seconds 60\n"
                  "holdfast bench peek --actors 1000000\n"
                  "holdfast bench disk\n",
      .options = { OPT_BODY, OPT_STATE, OPT_ACTORS, OPT_THREADS, OPT_PENDING, OPT_SECONDS,
                   OPT_SHARDS, OPT_FLOOD, OPT_ALARMS, OPT_HISTORY, OPTIONS },
      .run = cmd_bench },
    { .name = NULL },
};
