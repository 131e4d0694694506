# Table 5, Bias: every bias and the decoder. No script for it is public: Adam, as for GPS.
_base_ = ['../_base_/table5.py', '../_base_/methods/bias.py']
