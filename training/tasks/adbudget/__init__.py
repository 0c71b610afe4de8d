"""Splitting an advertising budget between channels, day by day: response curves, simulator, optimum, allocator.

Money is in units of the account's currency, and every spend, sale and carry-over is of one day.
"""
