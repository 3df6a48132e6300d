"""The sections of the report, one module each, with

    TITLE               its heading
    measure(report, options)
                        measures, and says what it found: report.table(), report.limit(), report.keep() for raw data (report.py).
                        options.quick asks for a subset of some seconds, in which every limit must be a ratio.

A section starts its own servers (servers.py), ends them, and leaves nothing behind. run.py has the list of them.
"""
