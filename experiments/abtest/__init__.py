"""Tests in the field: sample sizes, CUPED, intervals that may be looked at any day, switchback."""
