"""What columns are called that say whose an item is. Without pandas, since the command line imports it."""

GROUP_NAMES = frozenset({
    "patient", "patients", "patient_id", "patient_no", "patient_number", "patient_code", "patientid", "subject", "subject_id", "subjectid",
    "subject_no", "case_id", "slide_id", "participant", "participant_id", "mrn", "animal_id", "study_id",
})  # fmt: skip
"""What a column is called that says whose a row is, in lower case with underscores."""
