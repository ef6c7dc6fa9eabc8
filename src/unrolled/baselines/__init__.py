"""What every model must beat: functions on arrays that know no stage, one module a kind of data."""
