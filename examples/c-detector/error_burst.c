// A detector in C: minutes in which a stream writes far more errors than it used to.
//
// Errors are counted by stream and minute of event time. A minute is judged when the watermark says
// that it is complete: its count is compared with a moving mean and variance of the minutes before,
// and then learnt itself. README.md has the lines that build this file.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "petrel_detector.h"

#define T(name) exports_petrel_detector_detector_##name##_t
#define F(name) exports_petrel_detector_detector_##name

enum {
    STREAMS_MAX = 65536,   // the contract's bound on stream ids
    OPEN_MAX = 16,         // minutes that can wait for their watermark; more than any lateness
    MINUTES_TO_LEARN = 30,
    MINUTES_WALKED = 2000, // of a longer gap the rest would only repeat what is forgotten by then
    SEVERITY_ERROR = 17,   // OTLP: ERROR and FATAL are 17 to 24
    STATE_VERSION = 1,
    FINDINGS_MAX = 1024,
};
static const uint64_t MINUTE = 60000000000;
static const double FORGETTING = 0.03; // weight of the newest minute
static double threshold = 4.0;         // deviations from which a minute is reported

// What is known of a stream; saved as it lies in memory, which on WASM is the same everywhere.
typedef struct {
    uint64_t first;   // minute of the first row, 0 before there is one
    uint64_t closed;  // minutes before this one have been judged
    uint64_t minutes; // how many have been learnt
    double mean, variance;
    double open[OPEN_MAX]; // errors of minutes not yet judged, at minute % OPEN_MAX
} Stream;

static Stream *streams[STREAMS_MAX];

static Stream *stream_of(uint32_t id) {
    if (id >= STREAMS_MAX) abort();
    if (!streams[id]) streams[id] = calloc(1, sizeof(Stream));
    if (!streams[id]) abort();
    return streams[id];
}

// What is returned changes hands and is freed by the generated code, so it must be allocated.
static petrel_detector_string_t text(const char *text) {
    petrel_detector_string_t copy;
    petrel_detector_string_dup(&copy, text);
    return copy;
}

static petrel_detector_option_f64_t some(double number) {
    return (petrel_detector_option_f64_t){.is_some = true, .val = number};
}

void F(describe)(T(descriptor) *ret) {
    ret->name = text("error-burst");
    ret->version = text("1.0.0");
    ret->summary = text("Minutes in which a stream writes far more errors than it used to.");
    ret->settings_schema = text(
        "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"threshold\":"
        "{\"type\":\"number\",\"minimum\":1,\"default\":4,"
        "\"description\":\"deviations from the mean from which a minute is reported\"}}}");
    ret->state_version = STATE_VERSION;
}

static T(column_request) column(const char *name, T(data_type) data_type) {
    return (T(column_request)){.name = text(name), .data_type = data_type, .required = true};
}

// Reads `{}` or `{"threshold": 5}`.
static bool read_settings(const petrel_detector_string_t *settings) {
    char json[128] = {0};
    if (settings->len >= sizeof json) return false;
    memcpy(json, settings->ptr, settings->len);
    char *at = json + strspn(json, " \t\r\n{");
    if (*at == '}') return true;
    if (strncmp(at, "\"threshold\"", 11) != 0) return false;
    at += 11;
    at += strspn(at, " \t\r\n:");
    char *end;
    double number = strtod(at, &end);
    if (end == at || !(number >= 1.0) || end[strspn(end, " \t\r\n")] != '}') return false;
    threshold = number;
    return true;
}

bool F(configure)(petrel_detector_string_t *settings, T(plan) *ret, petrel_detector_string_t *err) {
    if (!read_settings(settings)) {
        *err = text("the only setting is `threshold`, a number from 1 on");
        return false;
    }
    ret->columns.len = 3;
    ret->columns.ptr = malloc(3 * sizeof *ret->columns.ptr);
    ret->columns.ptr[0] = column("stream", EXPORTS_PETREL_DETECTOR_DETECTOR_DATA_TYPE_UINT32);
    ret->columns.ptr[1] = column("event_time", EXPORTS_PETREL_DETECTOR_DETECTOR_DATA_TYPE_UINT64);
    ret->columns.ptr[2] = column("severity_number", EXPORTS_PETREL_DETECTOR_DETECTOR_DATA_TYPE_UINT32);
    ret->kinds.len = 1;
    ret->kinds.ptr = malloc(sizeof *ret->kinds.ptr);
    ret->kinds.ptr[0] = (T(kind)){
        .name = text("error-burst"),
        .unit = text("{record}/min"),
        .scale = EXPORTS_PETREL_DETECTOR_DETECTOR_SCALE_ORDINAL,
        .calibrate_by = EXPORTS_PETREL_DETECTOR_DETECTOR_CALIBRATE_BY_SERIES,
        .report_from = threshold,
        .floor = 3.0,
        .floor_ratio = 2.0,
    };
    ret->window = MINUTE;
    return true;
}

static bool has_value(const T(column) *column, uint32_t row) {
    return !column->validity.is_some || (column->validity.val.ptr[row / 8] >> (row % 8) & 1);
}

void F(observe)(T(batch) *batch, T(outcome) *ret) {
    memset(ret, 0, sizeof *ret); // nothing is found before a minute is complete
    const T(column) *columns = batch->columns.ptr;
    if (columns[2].values.tag == EXPORTS_PETREL_DETECTOR_DETECTOR_VALUES_ABSENT) {
        F(batch_free)(batch);
        return;
    }
    const uint32_t *ids = columns[0].values.val.uint32.ptr;
    const uint64_t *times = columns[1].values.val.uint64.ptr;
    const uint32_t *severities = columns[2].values.val.uint32.ptr;
    for (uint32_t row = 0; row < batch->rows; row++) {
        Stream *stream = stream_of(ids[row]);
        uint64_t minute = times[row] / MINUTE;
        if (!stream->first) {
            stream->first = minute;
            if (!stream->closed) stream->closed = minute;
        }
        bool is_error = has_value(&columns[2], row) && severities[row] >= SEVERITY_ERROR;
        // Rows that come too late, or ahead of all others, count nowhere.
        if (is_error && minute >= stream->closed && minute - stream->closed < OPEN_MAX)
            stream->open[minute % OPEN_MAX] += 1.0;
    }
    F(batch_free)(batch);
}

static T(finding) finding(uint32_t id, const Stream *stream, uint64_t minute, double errors, double score) {
    T(finding) found = {
        .stream = id,
        .direction = EXPORTS_PETREL_DETECTOR_DETECTOR_DIRECTION_ABOVE,
        .score = score,
        .start = minute * MINUTE,
        .end = (minute + 1) * MINUTE,
        .since = stream->first * MINUTE,
        .observed = some(errors),
        .expected = some(stream->mean),
        .upper = some(stream->mean + threshold * sqrt(stream->variance + stream->mean + 1.0)),
        .records = some(errors),
    };
    found.evidence.len = 1;
    found.evidence.ptr = malloc(sizeof *found.evidence.ptr);
    found.evidence.ptr[0].name = text("minutes_learnt");
    found.evidence.ptr[0].value.tag = EXPORTS_PETREL_DETECTOR_DETECTOR_EVIDENCE_VALUE_NUMBER;
    found.evidence.ptr[0].value.val.number = (double)stream->minutes;
    return found;
}

static void report(T(outcome) *ret, T(finding) found) {
    if (ret->findings.len == FINDINGS_MAX) {
        F(finding_free)(&found);
        ret->omitted++;
        return;
    }
    if (ret->findings.len == 0) ret->findings.ptr = malloc(FINDINGS_MAX * sizeof found);
    ret->findings.ptr[ret->findings.len++] = found;
}

// Judges the oldest open minute, then learns it.
static void close_minute(uint32_t id, Stream *stream, T(outcome) *ret) {
    uint64_t minute = stream->closed++;
    double errors = stream->open[minute % OPEN_MAX];
    stream->open[minute % OPEN_MAX] = 0.0;
    double above = errors - stream->mean;
    // Counts vary by their mean even where nothing changes; the 1.0 is for streams without errors.
    double score = above / sqrt(stream->variance + stream->mean + 1.0);
    if (stream->minutes >= MINUTES_TO_LEARN && score >= threshold)
        report(ret, finding(id, stream, minute, errors, score));
    stream->mean += FORGETTING * above;
    stream->variance = (1.0 - FORGETTING) * (stream->variance + FORGETTING * above * above);
    stream->minutes++;
}

void F(advance)(T(list_watermark) *watermarks, T(outcome) *ret) {
    memset(ret, 0, sizeof *ret);
    for (size_t i = 0; i < watermarks->len; i++) {
        const T(watermark) *watermark = &watermarks->ptr[i];
        Stream *stream = stream_of(watermark->stream);
        uint64_t end = watermark->time / MINUTE;
        if (!stream->first || end <= stream->closed) continue;
        if (watermark->completeness == 0.0) { // nothing was taken in: no evidence of anything
            memset(stream->open, 0, sizeof stream->open);
            stream->closed = end;
        }
        if (end - stream->closed > MINUTES_WALKED) {
            memset(stream->open, 0, sizeof stream->open);
            stream->closed = end - MINUTES_WALKED;
        }
        while (stream->closed < end) close_minute(watermark->stream, stream, ret);
    }
    F(list_watermark_free)(watermarks);
}

void F(status)(uint32_t id, T(list_readiness) *ret) {
    uint64_t minutes = stream_of(id)->minutes;
    ret->len = 1;
    ret->ptr = malloc(sizeof *ret->ptr);
    if (minutes >= MINUTES_TO_LEARN) {
        ret->ptr[0].level = EXPORTS_PETREL_DETECTOR_DETECTOR_READINESS_LEVEL_READY;
        ret->ptr[0].missing = (petrel_detector_string_t){0};
    } else {
        char missing[] = "00 of 30 minutes";
        missing[0] += minutes / 10;
        missing[1] += minutes % 10;
        ret->ptr[0].level = EXPORTS_PETREL_DETECTOR_DETECTOR_READINESS_LEVEL_LEARNING;
        ret->ptr[0].missing = text(missing);
    }
}

void F(save)(uint32_t id, petrel_detector_list_u8_t *ret) {
    *ret = (petrel_detector_list_u8_t){0};
    if (!streams[id]) return;
    ret->len = sizeof(Stream);
    ret->ptr = malloc(sizeof(Stream));
    memcpy(ret->ptr, streams[id], sizeof(Stream));
}

bool F(load)(uint32_t id, uint32_t version, petrel_detector_list_u8_t *state, petrel_detector_string_t *err) {
    Stream stream = {0};
    bool is_whole = state->len == sizeof stream;
    if (is_whole) memcpy(&stream, state->ptr, sizeof stream);
    petrel_detector_list_u8_free(state);
    for (int i = 0; i < OPEN_MAX; i++) is_whole = is_whole && stream.open[i] >= 0.0 && isfinite(stream.open[i]);
    if (version != STATE_VERSION || !is_whole || !isfinite(stream.mean) || !isfinite(stream.variance) ||
        stream.mean < 0.0 || stream.variance < 0.0 || stream.first > stream.closed) {
        *err = text("not a state of error-burst, version 1");
        return false;
    }
    *stream_of(id) = stream;
    return true;
}

void F(forget)(uint32_t id) {
    free(streams[id]);
    streams[id] = NULL;
}
