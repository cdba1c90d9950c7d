"""Clicks and conversions learned together from all shown rows: one file for each way to share."""
