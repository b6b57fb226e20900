collect_ignore = ['test_words.py']
